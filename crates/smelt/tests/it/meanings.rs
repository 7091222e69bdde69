//! What questions mean that no answer file covers, on data that is small enough to count by hand.

use std::fs;
use std::path::PathBuf;

use crate::answers::assert_same;
use crate::support::Lake;

/// Writes a file into the lake's folder and ingests it.
#[track_caller]
fn ingest(lake: &Lake, stream: &str, file: &str, text: &str) {
    let path: PathBuf = lake.folder().join(file);
    fs::write(&path, text).expect("the file is written");
    lake.ingest(stream, &path);
}

#[track_caller]
fn answer(lake: &Lake, query: &[&str], expected: &str) {
    let got = lake.run([&["query"], query, &["--format", "csv"]].concat()).fine().stdout;
    assert_same(&query.join(" "), expected, &got, 1e-9);
}

/// Ingests a day of the weekly report: sales, stock and calendar rows without their headers, a product and a store.
#[track_caller]
fn ingest_day(lake: &Lake, day: &str, sales: &str, stock: &str, calendar: &str) {
    let sales_header = "TRANS_ID,PROD_KEY,STORE_KEY,TRANS_DT,TRANS_TIME,SALES_QTY,SALES_PRICE,SALES_AMT,DISCOUNT,SALES_COST,\
                        SALES_MGRN,SHIP_COST\n";
    let stock_header = "CAL_DT,STORE_KEY,PROD_KEY,INVENTORY_ON_HAND_QTY,INVENTORY_ON_ORDER_QTY,OUT_OF_STOCK_FLG,WASTE_QTY,\
                        PROMOTION_FLG,NEXT_DELIVERY_DT\n";
    let landing = lake.folder().join("weekly");
    fs::create_dir_all(&landing).expect("a landing folder");
    let files = [
        ("sales", format!("{sales_header}{sales}")),
        ("inventory", format!("{stock_header}{stock}")),
        ("calendar", format!("CAL_DT,YR_NUM,WK_NUM\n{calendar}")),
        ("product", "PROD_KEY,PROD_NAME,BRAND_NAME,CATEGORY_NAME,SUBCATEGORY_NAME\n7,Tea,Leaf,Drinks,Hot\n".to_owned()),
        ("store", "STORE_KEY,STORE_NUM,STORE_DESC,CITY,REGION,CNTRY_NM\n3,S-3,Third,Oslo,East,Norway\n".to_owned()),
    ];
    for (name, text) in files {
        fs::write(landing.join(format!("{name}_{day}.csv")), text).expect("the file is written");
    }
    lake.ingest("weekly", &landing);
}

#[test]
fn rows_of_the_weekly_report_wait_for_the_calendar_and_a_day_can_be_low_and_out() {
    let lake = Lake::new();
    // On the first day 4 are sold for 10.00 with 1 left and the flag set: low and out. The second day is not in the calendar.
    let sales =
        "1,7,3,2024-01-01,9,4,2.50,10.00,0.00,6.00,4.00,1.00\n2,7,3,2024-01-02,9,2,2.50,5.00,0.00,3.00,2.00,0.50\n";
    let stock = "2024-01-01,3,7,1,20,1,0,0,2024-01-05\n2024-01-02,3,7,8,0,0,0,0,2024-01-05\n";
    ingest_day(&lake, "20240102", sales, stock, "2024-01-01,2024,1\n");
    lake.refine();
    answer(&lake, &["weekly_waiting"], "day,sales,stock_rows\n2024-01-02,1,1\n");
    let columns = "yr_num,wk_num,store_key,prod_key,total_sales_qty,total_sales_amt,avg_sales_price,inventory_on_hand_qty,\
                   inventory_on_order_qty,total_cost,total_ship_cost,out_of_stock_pct,in_stock_pct,total_low_stock_impact,\
                   potential_low_stock_impact,no_stock_impact,low_stock_instances,no_stock_instances,weeks_of_supply\n";
    let (out, rest) = (100.0 / 7.0, 600.0 / 7.0);
    let week = format!("2024,1,3,7,4,10,2.5,1,20,6,1,{out},{rest},2,7.5,10,1,1,0.25\n");
    answer(&lake, &["weekly_store_product"], &format!("{columns}{week}"));

    ingest_day(&lake, "20240103", sales, stock, "2024-01-01,2024,1\n2024-01-02,2024,2\n");
    lake.refine();
    answer(&lake, &["weekly_waiting"], "day,sales,stock_rows\n");
    let next = "2024,2,3,7,2,5,2.5,8,0,3,0.5,0,100,0,0,0,0,0,4\n";
    answer(&lake, &["weekly_store_product"], &format!("{columns}{week}{next}"));
    let revenue = "yr_num,wk_num,units,revenue,cost,ship_cost,margin\n2024,1,4,10,6,1,3\n2024,2,2,5,3,0.5,1.5\n";
    answer(&lake, &["weekly_revenue_cost"], revenue);
    let worst = "store_key,store_name,location,lost_sales,low_stock_impact,no_stock_impact,low_stock_days,no_stock_days,revenue\n\
                 3,Third,Oslo,17.5,7.5,10,1,1,15\n";
    answer(&lake, &["weekly_worst_stores"], worst);
}

#[test]
fn the_refill_plan_is_the_mean_of_two_means_less_what_is_left() {
    let lake = Lake::new();
    let line =
        |id: u32, product: &str, quantity: u32, day: &str| format!("{id},{product},{quantity},1.00,{day} 10:00:00\n");
    // April of the year before: 40 tea. The last three full months: 6 + 6 + 12 tea. May has begun: no full month.
    let lines = [
        line(1, "tea", 40, "2023-04-01"),
        line(2, "tea", 6, "2024-01-10"),
        line(3, "tea", 6, "2024-02-10"),
        line(4, "tea", 12, "2024-03-31"),
        line(5, "cup", 3, "2024-03-31"),
    ];
    ingest(
        &lake,
        "pos_sales",
        "pos.csv",
        &format!("Sale_ID,Product,Quantity_Sold,Each_Price,Sale_Date\n{}", lines.concat()),
    );
    ingest(&lake, "pos_stock", "stock.csv", "product,stock_quantity\ntea,80\ncup,100\n");
    lake.refine();
    // Tea in April: (40 + 24/3) / 2 = 24; 80 - 64 = 16 are left. In May there is only the mean of the last three months.
    let plan = "y,m,month,product,need,stock_left,refill\n\
                2024,4,2024-04-01,cup,0.5,97,0\n2024,4,2024-04-01,tea,24,16,8\n\
                2024,5,2024-05-01,cup,1,96.5,0\n2024,5,2024-05-01,tea,8,0,8\n";
    answer(&lake, &["pos_refill_plan", "--param", "months=2"], plan);
    answer(&lake, &["pos_low_stock"], "product,stock_left,next_month,need\ntea,16,2024-04-01,24\n");
}

#[test]
fn a_stock_runs_out_at_the_rate_of_the_last_days_with_sales() {
    let lake = Lake::new();
    let sale = |id: &str, product: &str, day: &str, quantity: u32| {
        format!(
            "{{\"transaction_id\":\"{id}\",\"product_id\":\"{product}\",\"timestamp\":\"{day} 10:00:00\",\"quantity\":{quantity},\
             \"unit_price\":2.50,\"store_id\":\"S\"}}\n"
        )
    };
    // Eight days with sales, of which the first is not among the last seven: 14 pieces in seven days.
    let mut sales = sale("T0", "A", "2024-01-01", 700);
    for day in 3..10 {
        sales += &sale(&format!("T{day}"), "A", &format!("2024-01-{day:02}"), 2);
    }
    sales += &sale("T99", "B", "2024-01-09", 7);
    ingest(&lake, "sales_transactions", "sales.ndjson", &sales);
    ingest(&lake, "opening_stock", "opening.csv", "product_id,store_id,quantity\nA,S,9\nB,S,100\nC,S,5\n");
    let update = r#"{"product_id":"A","timestamp":"2024-01-09 10:00:00","quantity_change":-4,"store_id":"S"}"#;
    // The same text twice is two changes: a stock update has no key.
    ingest(&lake, "inventory_updates", "updates.ndjson", &format!("{update}\n{update}\n"));
    lake.refine();
    answer(&lake, &["bf_stock"], "store_id,product_id,stock\nS,A,1\nS,B,100\nS,C,5\n");
    let out = "store_id,product_id,product_name,stock,units_a_day,days_left\nS,A,,1,2,0.5\n";
    answer(&lake, &["bf_running_out"], out);
    let inventory = "source,event_date,store_id,product_id,on_hand,on_order,is_out_of_stock\n\
                     sales_transactions,,S,A,9,,false\nsales_transactions,,S,B,100,,false\nsales_transactions,,S,C,5,,false\n\
                     sales_transactions,2024-01-09,S,A,1,,false\n";
    answer(&lake, &["fct_inventory"], inventory);
}

#[test]
fn sales_show_their_product_as_it_was_then_or_is_now_and_without_one_until_it_comes() {
    let lake = Lake::new();
    let sale = r#"{"transaction_id":"T1","product_id":"A","timestamp":"2024-01-01 10:00:00","quantity":2,"unit_price":2.50,"store_id":"S"}"#;
    ingest(&lake, "sales_transactions", "sales.ndjson", &format!("{sale}\n"));
    lake.refine();
    answer(&lake, &["bf_category"], "category,units,revenue\n,2,5\n");
    let products = |category: &str| format!("product_id,name,category,price,supplier_id\nA,Ant,{category},1.00,X\n");
    ingest(&lake, "products", "products_1.csv", &products("Toys"));
    lake.refine();
    answer(&lake, &["bf_category"], "category,units,revenue\nToys,2,5\n");
    // The same again is no new version; another category is one, from the file's arrival on.
    for (file, category) in [("products_2.csv", "Pets"), ("products_3.csv", "Pets")] {
        ingest(&lake, "products", file, &format!("{}B,Bee,{category},1.00,{file}\n", products(category)));
        lake.refine();
    }
    answer(&lake, &["bf_category"], "category,units,revenue\nPets,2,5\n");
    let versions = lake.sql(
        "SELECT category, valid_from IS NULL AS first, valid_to IS NULL AS last FROM gold.dim_product_history \
         WHERE source = 'sales_transactions' AND product_id = 'A' ORDER BY valid_from NULLS FIRST",
    );
    assert_eq!(versions, "Toys,true,false\nPets,false,true");
    assert_eq!(lake.sql("SELECT category, product_name FROM gold.fct_sales"), "Toys,Ant");
}

#[test]
fn history_comes_from_the_winning_orders_only() {
    let lake = Lake::new();
    let order = |id: &str, at: &str, country: &str, version: u32| {
        format!(
            "{{\"order_id\":\"{id}\",\"customer_id\":\"C\",\"product_id\":\"P\",\"product_name\":\"Pen\",\"category\":\"Office\",\
             \"price\":1.00,\"quantity\":1,\"order_timestamp\":\"2024-01-{at}\",\"country\":{country},\
             \"event_time\":\"2024-02-{version:02}T00:00:00Z\"}}\n"
        )
    };
    let first = [
        order("O1", "01 10:00:00", "\"India\"", 1),
        order("O4", "04 10:00:00", "\"India\"", 1),
        order("O5", "05 10:00:00", "\"India\"", 1),
        // Two at one instant: the greater number counts.
        order("O7", "07 10:00:00", "\"Kenya\"", 1),
        order("O6", "07 10:00:00", "\"Japan\"", 1),
        order("O8", "08 10:00:00", "null", 1),
    ];
    ingest(&lake, "sales_events", "a.ndjson", &first.concat());
    lake.refine();
    let header = "customer_id,country,valid_from,valid_to\n";
    let history =
        "C,India,,2024-01-07 10:00:00\nC,Kenya,2024-01-07 10:00:00,2024-01-08 10:00:00\nC,,2024-01-08 10:00:00,\n";
    answer(&lake, &["dim_customer_history"], &format!("{header}{history}"));

    // A late order splits a stretch; a correction moves an order to another day, and its old version counts no more.
    ingest(&lake, "sales_events", "b.ndjson", &order("O3", "03 10:00:00", "\"Ghana\"", 1));
    ingest(&lake, "sales_events", "c.ndjson", &order("O7", "02 10:00:00", "\"India\"", 2));
    lake.refine();
    let history = "C,India,,2024-01-03 10:00:00\nC,Ghana,2024-01-03 10:00:00,2024-01-04 10:00:00\n\
                   C,India,2024-01-04 10:00:00,2024-01-07 10:00:00\nC,Japan,2024-01-07 10:00:00,2024-01-08 10:00:00\n\
                   C,,2024-01-08 10:00:00,\n";
    answer(&lake, &["dim_customer_history"], &format!("{header}{history}"));
    answer(
        &lake,
        &["ec_daily"],
        "order_date,revenue,orders,items\n2024-01-01,1,1,1\n2024-01-02,1,1,1\n2024-01-03,1,1,1\n2024-01-04,1,1,1\n\
         2024-01-05,1,1,1\n2024-01-07,1,1,1\n2024-01-08,1,1,1\n",
    );
}
