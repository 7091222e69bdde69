//! A lake in which nothing was ever loaded: every question has a header and no rows.

use std::collections::BTreeMap;

use insta::assert_snapshot;
use query::{Format, list, run_named};

use crate::shared::{session, shipped_project};

#[tokio::test]
async fn every_query_prints_its_header() {
    let project = shipped_project();
    let queries: Vec<_> = project.queries.values().cloned().collect();
    let session = session(project).await;
    let mut headers = Vec::new();
    for query in queries {
        let answer = run_named(&session, &query, &BTreeMap::new()).await.unwrap_or_else(|error| panic!("{error}"));
        let mut text = Vec::new();
        let written =
            Format::Csv.write(answer, &mut text).await.unwrap_or_else(|error| panic!("{}: {error}", query.path));
        assert_eq!(written.rows, 0, "{}", query.path);
        headers.push(format!("{}: {}", query.name, String::from_utf8(text).expect("text").trim_end()));
        if let Some(chart) = &query.chart {
            let header = headers.last().expect("pushed above");
            for column in [Some(&chart.x), Some(&chart.y), chart.series.as_ref()].into_iter().flatten() {
                assert!(header.contains(column.as_str()), "{}: no column {column} to draw", query.path);
            }
        }
    }
    assert_snapshot!(headers.join("\n"), @r#"
    ingest_balance: stream,commits,delivered,mended,rows_stored,rows_quarantined,missing
    ingest_reconciliation: stream,input,commits,delivered,stored,quarantined,skipped,mended,missing
    invoice_daily: day,invoices,net_sales,units_ordered,units_returned
    invoice_kpi_country: country,invoices,total_sale_volume,rate_of_return,average_transaction_size
    invoice_kpi_minute: window_start,opm,total_sale_volume,rate_of_return,average_transaction_size
    invoice_kpi_minute_country: window_start,country,opm,total_sale_volume,rate_of_return,average_transaction_size
    invoice_kpi_total: invoices,total_sale_volume,rate_of_return,average_transaction_size
    pos_best_products: product,units,sales
    pos_best_products_month: y,m,place,product,units,sales
    pos_daily: day,sale_lines,units,sales
    pos_low_stock: product,stock_left,units_a_month,months_left
    pos_monthly: y,m,units,sales
    pos_product: product,units,sales,stock_left
    pos_product_month: y,m,product,units,sales
    pos_stock_left: product,opening,units_sold,stock_left
    pos_totals: sale_lines,units,sales
    pos_yearly: y,units,sales
    quarantine_summary: stream,source,reason,records,open,first_arrived,last_arrived
    "#);
}

#[tokio::test]
async fn every_table_can_be_described() {
    let session = session(shipped_project()).await;
    for table in session.tables() {
        let name = format!("{}.{}", table.schema, table.name);
        let described = session.describe(&name).await.unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(!described.table.description.is_empty(), "{name} has no description");
        for key in &described.grain {
            assert!(described.columns.iter().any(|column| column.name == *key), "{name} has no column {key}");
        }
    }
}

#[test]
fn queries_are_listed_with_their_parameters() {
    let entries = list(&shipped_project());
    let best = entries.iter().find(|entry| entry.name == "pos_best_products").expect("shipped");
    assert_eq!(best.question, "Which products sell best?");
    assert_eq!(best.parameters, ["top int = 10", "by string = sales"]);
}
