//! From SQL text to a statement that may run: one statement, read-only, its parameters bound.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use datafusion::common::ScalarValue;
use datafusion::execution::context::SessionState;
use datafusion::logical_expr::sqlparser::ast::{self, Expr, Value, visit_expressions_mut};
use datafusion::sql::parser::{DFParserBuilder, ExplainStatement, Statement};
use datafusion::sql::sqlparser::dialect::dialect_from_str;

use crate::SessionError;

/// Values of `$name` placeholders, by name without `$`.
pub type Parameters = BTreeMap<String, ScalarValue>;

/// Parses `sql`: exactly one statement, which only reads.
///
/// # Errors
/// [`SessionError::Syntax`], [`SessionError::OneStatement`] or [`SessionError::NotReadOnly`].
pub(crate) fn parse(state: &SessionState, sql: &str) -> Result<Statement, SessionError> {
    let options = &state.config_options().sql_parser;
    let dialect = dialect_from_str(options.dialect).expect("the configured dialect is one that the parser has");
    let mut statements = DFParserBuilder::new(sql)
        .with_dialect(dialect.as_ref())
        .with_recursion_limit(options.recursion_limit.get())
        .build()?
        .parse_statements()?;
    let found = statements.len();
    match (statements.pop_front(), found) {
        (Some(statement), 1) if only_reads(&statement) => Ok(statement),
        (Some(statement), 1) => {
            let text = statement.to_string();
            let words: Vec<&str> = text.split_whitespace().take(3).collect();
            Err(SessionError::NotReadOnly { statement: words.join(" ") })
        }
        _ => Err(SessionError::OneStatement { found }),
    }
}

fn only_reads(statement: &Statement) -> bool {
    match statement {
        Statement::Statement(statement) => sql_only_reads(statement),
        Statement::Explain(ExplainStatement { statement, .. }) => only_reads(statement),
        _ => false,
    }
}

fn sql_only_reads(statement: &ast::Statement) -> bool {
    use ast::Statement::{
        Explain, ExplainTable, Query, ShowColumns, ShowCreate, ShowFunctions, ShowTables, ShowVariable,
    };
    match statement {
        Query(query) => body_only_reads(&query.body),
        Explain { statement, .. } => sql_only_reads(statement),
        ExplainTable { .. } | ShowColumns { .. } | ShowCreate { .. } | ShowFunctions { .. } => true,
        ShowTables { .. } | ShowVariable { .. } => true,
        _ => false,
    }
}

/// `WITH x AS (…) INSERT …` parses as a query, and so does `SELECT … INTO`.
fn body_only_reads(body: &ast::SetExpr) -> bool {
    match body {
        ast::SetExpr::Select(select) => select.into.is_none(),
        ast::SetExpr::Query(query) => body_only_reads(&query.body),
        ast::SetExpr::SetOperation { left, right, .. } => body_only_reads(left) && body_only_reads(right),
        ast::SetExpr::Values(_) | ast::SetExpr::Table(_) => true,
        _ => false,
    }
}

/// Replaces each `$name` by its value, as a literal of the parameter's type, so that planning and pruning see constants.
/// Values are bound in the parsed statement, never in its text: no value can become SQL.
///
/// # Errors
/// [`SessionError::MissingParameter`] for a name without a value.
pub(crate) fn bind(statement: &mut Statement, parameters: &Parameters) -> Result<(), SessionError> {
    let statement = match statement {
        Statement::Statement(statement) => statement.as_mut(),
        Statement::Explain(explain) => return bind(&mut explain.statement, parameters),
        _ => return Ok(()),
    };
    let flow = visit_expressions_mut(statement, |expr| {
        let Expr::Value(value) = &*expr else { return ControlFlow::Continue(()) };
        let Value::Placeholder(placeholder) = &value.value else { return ControlFlow::Continue(()) };
        let name = placeholder.trim_start_matches('$');
        match parameters.get(name) {
            None => ControlFlow::Break(SessionError::MissingParameter { name: name.to_owned() }),
            Some(value) => {
                *expr = literal(value);
                ControlFlow::Continue(())
            }
        }
    });
    match flow {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(error) => Err(error),
    }
}

/// A value as SQL: numbers as they are (so that they can stand in LIMIT), the rest as text cast to its type.
fn literal(value: &ScalarValue) -> Expr {
    let text = |value: String| Expr::Value(Value::SingleQuotedString(value).into());
    let number = |value: String| Expr::Value(Value::Number(value, false).into());
    match value {
        _ if value.is_null() => typed(Expr::Value(Value::Null.into()), value),
        ScalarValue::Utf8(Some(value)) => text(value.clone()),
        ScalarValue::Boolean(Some(value)) => Expr::Value(Value::Boolean(*value).into()),
        ScalarValue::Int32(Some(0..)) | ScalarValue::Int64(Some(0..)) => number(value.to_string()),
        ScalarValue::TimestampMicrosecond(Some(micros), _) => {
            let at = arrow::temporal_conversions::timestamp_us_to_datetime(*micros);
            typed(text(at.map_or_else(String::new, |at| format!("{at}Z"))), value)
        }
        other => typed(text(other.to_string()), value),
    }
}

/// `CAST(… AS type)`, by way of `arrow_cast`, which takes every type by name.
fn typed(expr: Expr, value: &ScalarValue) -> Expr {
    let kind = Expr::Value(Value::SingleQuotedString(value.data_type().to_string()).into());
    let argument = |expr| ast::FunctionArg::Unnamed(ast::FunctionArgExpr::Expr(expr));
    Expr::Function(ast::Function {
        name: ast::ObjectName::from(vec![ast::Ident::new("arrow_cast")]),
        uses_odbc_syntax: false,
        parameters: ast::FunctionArguments::None,
        args: ast::FunctionArguments::List(ast::FunctionArgumentList {
            duplicate_treatment: None,
            args: vec![argument(expr), argument(kind)],
            clauses: Vec::new(),
        }),
        filter: None,
        null_treatment: None,
        over: None,
        within_group: Vec::new(),
    })
}
