//! Settings: what is refused, and what they do.

use chrono::{DateTime, NaiveDate};
use sim::{Catalog, Peak, RateShape, Rows, Shares, SimConfig, Simulation, Stream};

use crate::support::{dirty, instant, object, simulation, text};

#[test]
fn settings_that_cannot_be_followed_are_refused_by_name() {
    let refused = |config: SimConfig, key: &str| {
        let message = Simulation::new(config).unwrap_err().to_string();
        assert!(message.contains(key), "{message}");
    };
    refused(SimConfig { days: 0, ..SimConfig::default() }, "days");
    refused(SimConfig { partitions: 0, ..SimConfig::default() }, "partitions");
    refused(SimConfig { shares: Shares { late: 1.5, ..Shares::clean() }, ..SimConfig::default() }, "shares.late");
    refused(SimConfig { bad_kinds: Vec::new(), ..SimConfig::default() }, "bad_kinds");
    let catalog = |products, stores| Catalog { products, stores, ..Catalog::default() };
    refused(SimConfig { catalog: catalog(0, 1), ..SimConfig::default() }, "catalog.products");
    refused(
        SimConfig { catalog: catalog(1_000_000, 100_000), ..SimConfig::default() },
        "catalog.products x catalog.stores",
    );
    let rows = Rows { weekly: 3_000_000_000, ..Rows::default() };
    refused(SimConfig { rows, ..SimConfig::default() }, "rows.weekly");
    assert!(Rows::default().set("sales", 1).unwrap_err().to_string().contains("sales_events"));
}

#[test]
fn rows_are_dealt_out_evenly() {
    let rows = Rows::even(100, &["invoices", "weekly", "sales_events"]).unwrap();
    assert_eq!(rows, Rows { invoices: 33, weekly: 33, sales_events: 33, ..Rows::default() });
    assert_eq!(Rows::even(100, &[]).unwrap(), Rows::default());
}

#[test]
fn a_black_friday_sells_as_many_times_as_much_as_it_says() {
    let friday: NaiveDate = "2024-03-08".parse().unwrap();
    let on_friday = |peak| {
        let shape = RateShape { peak, ..RateShape::default() };
        let config = SimConfig { shape, shares: Shares::clean(), exports: None, ..dirty(13) };
        let day = |event| DateTime::from_timestamp_micros(instant(&text(&object(&event).unwrap(), "order_timestamp")));
        simulation(config)
            .events(Stream::SalesEvents)
            .filter(|event| day(event.clone()).unwrap().date_naive() == friday)
            .count()
    };
    let (usual, peak) = (on_friday(None), on_friday(Some(Peak { day: friday, factor: 5 })));
    // 130 of 720 in an ordinary week, 650 of 1240 in one with the peak.
    assert!((530..560).contains(&usual) && (1_550..1_600).contains(&peak), "{usual} {peak}");
}

#[test]
fn all_streams_together_arrive_in_order() {
    let simulation = simulation(dirty(14));
    let mut arrivals = simulation.arrivals();
    let (mut last, mut seen) = (i64::MIN, 0);
    while let Some(arrival) = arrivals.next() {
        assert!(arrival.arrived_at_ms >= last);
        last = arrival.arrived_at_ms;
        seen += 1;
    }
    assert_eq!(seen, Stream::ALL.map(|stream| simulation.events(stream).count()).iter().sum::<usize>());
    assert!(arrivals.next().is_none());
}
