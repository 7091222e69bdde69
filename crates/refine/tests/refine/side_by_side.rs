//! Models of which none reads the other are refreshed side by side, all others one after the other.

use std::sync::{Arc, Mutex};

use refine::{ModelReport, Progress, RefineOptions};
use schema::TableName;
use tokio_util::sync::CancellationToken;

use crate::world::{World, order, run};

/// What began and what ended, in that order.
#[derive(Default)]
struct Heard(Mutex<Vec<(&'static str, String)>>);

impl Heard {
    fn note(&self, what: &'static str, model: &TableName) {
        self.0.lock().unwrap().push((what, model.to_string()));
    }
}

impl Progress for Heard {
    fn started(&self, model: &TableName) {
        self.note("begins", model);
    }

    fn finished(&self, report: &ModelReport) {
        self.note("ends", &report.model);
    }
}

#[test]
fn a_model_begins_when_all_that_it_reads_has_ended_and_not_later() {
    run(async {
        let world = World::new().await;
        world.land(&[order("a", 18_261, "north", 1, 1), order("b", 18_262, "south", 2, 2)], &[]).await;
        let heard = Arc::new(Heard::default());
        let report =
            refine::run(world.env(), RefineOptions::default(), CancellationToken::new(), heard.clone()).await.unwrap();
        let heard = std::mem::take(&mut *heard.0.lock().unwrap());
        let place = |what: &str, model: &str| heard.iter().position(|(is, of)| *is == what && of == model).unwrap();
        for (read, reader) in [("silver.lines", "gold.daily"), ("gold.daily", "gold.monthly")] {
            assert!(place("ends", read) < place("begins", reader), "{reader} reads {read}: {heard:?}");
        }
        let mut under_way = 0;
        let most = heard.iter().map(|(what, _)| {
            under_way += if *what == "begins" { 1 } else { -1 };
            under_way
        });
        assert!(most.max().is_some_and(|most| (2..=4).contains(&most)), "side by side on two threads: {heard:?}");
        assert_eq!(under_way, 0, "{heard:?}");
        // The report does not depend on who was faster.
        let told: Vec<String> = report.models.iter().map(|model| model.model.to_string()).collect();
        let again = world.refine().await;
        assert_eq!(told, again.models.iter().map(|model| model.model.to_string()).collect::<Vec<_>>());
    });
}
