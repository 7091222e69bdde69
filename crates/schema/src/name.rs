//! Names of tables: a layer and a name within it.

use std::fmt;
use std::str::FromStr;

use crate::SchemaError;

/// A layer of the lake. Its lower-case name is the folder in the lake and the schema in SQL.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Layer {
    /// Everything that came, as it came.
    Bronze,
    /// Conformed, without duplicates.
    Silver,
    /// What questions are answered from.
    Gold,
    /// Smelt's own bookkeeping (`_smelt` in the lake), for example landing ledgers. Not visible in SQL.
    System,
}

impl Layer {
    /// The layer's lower-case name, as it stands in SQL (`bronze`, `silver`, `gold`, `system`).
    pub fn as_str(self) -> &'static str {
        match self {
            Layer::Bronze => "bronze",
            Layer::Silver => "silver",
            Layer::Gold => "gold",
            Layer::System => "system",
        }
    }
}

impl fmt::Display for Layer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Layer {
    type Err = SchemaError;

    fn from_str(text: &str) -> Result<Self, SchemaError> {
        match text {
            "bronze" => Ok(Layer::Bronze),
            "silver" => Ok(Layer::Silver),
            "gold" => Ok(Layer::Gold),
            "system" => Ok(Layer::System),
            _ => Err(SchemaError::TableName { text: text.to_owned() }),
        }
    }
}

/// A table's name: `silver.sales_lines`. Ordered by layer (bronze first), then name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TableName {
    /// The layer that the table belongs to.
    pub layer: Layer,
    /// The name within the layer: lower-case letters, digits and `_`, or for [`Layer::System`] also `/`
    /// (`landing/pos_sales`).
    pub name: String,
}

impl TableName {
    /// The table `name` of `layer`. The name is not checked here: [`FromStr`] checks.
    pub fn new(layer: Layer, name: impl Into<String>) -> Self {
        TableName { layer, name: name.into() }
    }

    /// `bronze.<name>`
    pub fn bronze(name: impl Into<String>) -> Self {
        TableName::new(Layer::Bronze, name)
    }

    /// `silver.<name>`
    pub fn silver(name: impl Into<String>) -> Self {
        TableName::new(Layer::Silver, name)
    }

    /// `gold.<name>`
    pub fn gold(name: impl Into<String>) -> Self {
        TableName::new(Layer::Gold, name)
    }

    /// `system.<name>`
    pub fn system(name: impl Into<String>) -> Self {
        TableName::new(Layer::System, name)
    }
}

impl fmt::Display for TableName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.layer, self.name)
    }
}

impl FromStr for TableName {
    type Err = SchemaError;

    /// Reads `<layer>.<name>`.
    ///
    /// # Errors
    /// [`SchemaError::TableName`] when the layer is unknown or the name is not an identifier.
    fn from_str(text: &str) -> Result<Self, SchemaError> {
        let wrong = || SchemaError::TableName { text: text.to_owned() };
        let (layer, name) = text.split_once('.').ok_or_else(wrong)?;
        let layer: Layer = layer.parse().map_err(|_| wrong())?;
        let parts_ok = match layer {
            Layer::System => name.split('/').all(is_identifier),
            _ => is_identifier(name),
        };
        if parts_ok { Ok(TableName::new(layer, name)) } else { Err(wrong()) }
    }
}

/// Whether `text` is a name that needs no quotes in SQL: a lower-case letter or `_`, then letters, digits, `_`; at most
/// 128 bytes.
pub(crate) fn is_identifier(text: &str) -> bool {
    let mut bytes = text.bytes();
    let first = bytes.next().is_some_and(|b| b.is_ascii_lowercase() || b == b'_');
    first && text.len() <= 128 && bytes.all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip_and_sort_by_layer() {
        let names = ["bronze.z", "silver.a", "gold.fct_sales", "system.landing/pos_sales"];
        let parsed: Vec<TableName> = names.iter().map(|n| n.parse().expect("valid")).collect();
        assert!(parsed.is_sorted());
        assert_eq!(parsed.iter().map(ToString::to_string).collect::<Vec<_>>(), names);
    }

    #[test]
    fn wrong_names_are_refused() {
        for text in ["", "bronze", "bronze.", "tin.x", "bronze.X", "bronze.a b", "gold.a/b", "bronze.1a", "gold.a.b"] {
            assert!(text.parse::<TableName>().is_err(), "{text}");
        }
    }
}
