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
    bf_category: category,units,revenue
    bf_counts: sales,quarantined_sales,quarantined_updates
    bf_hour: hour,sales,units,revenue
    bf_running_out: store_id,product_id,product_name,stock,units_a_day,days_left
    bf_stock: store_id,product_id,stock
    bf_store: store_id,location,sales,units,revenue
    bf_store_hour: store_id,hour,units,revenue
    bf_supplier: supplier_id,revenue
    bf_top_products: product_id,product_name,category,units,revenue
    bf_total: sales,units,revenue
    dim_customer: source,customer_id,country,valid_from
    dim_customer_history: customer_id,country,valid_from,valid_to
    dim_date: day,year,quarter,month,month_start,iso_week,weekday,is_weekend,yr_num,wk_num
    dim_product: source,product_id,product_name,category,subcategory,brand,supplier_id,list_price,valid_from
    dim_product_history: product_id,product_name,category,valid_from,valid_to
    dim_store: source,store_id,store_number,store_name,location,region,country,manager,valid_from
    dim_store_history: source,store_id,store_number,store_name,location,region,country,manager,valid_from,valid_to
    ec_category: category,revenue,orders
    ec_country: country,revenue,customers
    ec_counts: orders,quarantined,events
    ec_daily: order_date,revenue,orders,items
    ec_mom: month,revenue,growth_pct
    ec_top_products: product_id,product_name,category,revenue,orders,items
    fct_inventory: source,event_date,store_id,product_id,on_hand,on_order,is_out_of_stock
    fct_sales: source,event_id,line_id,event_at,event_date,store_id,store_location,customer_id,customer_country,product_id,product_name,category,country,channel,kind,quantity,unit_price,net_amount,discount,cost,ship_cost
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
    pos_low_stock: product,stock_left,next_month,need
    pos_monthly: y,m,units,sales
    pos_product: product,units,sales,stock_left
    pos_product_month: y,m,product,units,sales
    pos_refill_plan: y,m,month,product,need,stock_left,refill
    pos_stock_left: product,opening,units_sold,stock_left
    pos_totals: sale_lines,units,sales
    pos_yearly: y,units,sales
    quarantine_summary: stream,source,reason,records,open,first_arrived,last_arrived
    weekly_counts: sales,stock_rows,quarantined_sales
    weekly_revenue_cost: yr_num,wk_num,units,revenue,cost,ship_cost,margin
    weekly_store_product: yr_num,wk_num,store_key,prod_key,total_sales_qty,total_sales_amt,avg_sales_price,inventory_on_hand_qty,inventory_on_order_qty,total_cost,total_ship_cost,out_of_stock_pct,in_stock_pct,total_low_stock_impact,potential_low_stock_impact,no_stock_impact,low_stock_instances,no_stock_instances,weeks_of_supply
    weekly_waiting: day,sales,stock_rows
    weekly_worst_stores: store_key,store_name,location,lost_sales,low_stock_impact,no_stock_impact,low_stock_days,no_stock_days,revenue
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
