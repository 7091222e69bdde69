//! A mended row takes the place of the record that it mends, however much later it is stored (ENGINE.md 10).

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use crate::world::{MODELS, Order, World, order, run};

/// Lands `stored`, refines, lands `mended`, refines, and compares the winner of the one order that there is, by its units.
async fn check(stored: &[(i64, i32)], mended: &[(i64, i32)], units: i32) {
    let orders =
        |of: &[(i64, i32)]| of.iter().map(|(at, qty)| order("a", 18_261, "north", *qty, *at)).collect::<Vec<_>>();
    let world = World::new().await;
    world.land(&orders(stored), &[]).await;
    world.refine().await;
    world.land_mended(&orders(mended)).await;
    world.refine().await;
    let found = world.rows("gold.daily", "units").await;
    assert_eq!(found, [units.to_string()], "stored {stored:?}, mended {mended:?}");
    // A mended record is one message more, where each message counts.
    assert_eq!(world.rows("silver.messages", "id").await.len(), stored.len() + mended.len());
    let state = world.state().await;
    world.rebuild().await;
    assert_eq!(world.state().await, state);
}

#[tokio::test]
async fn a_mended_correction_wins_over_what_came_before_it_and_loses_to_what_came_after() {
    check(&[(3, 3)], &[(5, 5)], 5).await;
    check(&[(7, 7)], &[(5, 5)], 7).await;
    check(&[(3, 3), (7, 7)], &[(5, 5)], 7).await;
    // A, bad B, A again: the copy of A changed no row, and is still the latest.
    check(&[(3, 3), (7, 3)], &[(5, 5)], 3).await;
    check(&[(3, 3)], &[(5, 5), (4, 4)], 5).await;
    check(&[], &[(5, 5)], 5).await;
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 6, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whichever messages were in quarantine first, and in how many replays they are mended: the tables are those of a
    /// stream that never had a bad one.
    #[test]
    fn mending_gives_what_would_have_been(
        history in vec((select(vec!["a", "b", "c"]), 18_261..18_264i32, 1..4i32, 0..4usize), 1..20),
    ) {
        let orders: Vec<(Order, usize)> = history
            .into_iter()
            .zip(0..)
            .map(|((id, day, qty, batch), at)| (order(id, day, "north", qty, at), batch))
            .collect();
        run(async {
            let world = World::new().await;
            let batch = |number| -> Vec<Order> {
                orders.iter().filter(|(_, batch)| *batch == number).map(|(order, _)| order.clone()).collect()
            };
            for number in 0..4 {
                match number {
                    0 | 1 => world.land(&batch(number), &[]).await,
                    _ if batch(number).is_empty() => {}
                    _ => world.land_mended(&batch(number)).await,
                }
                world.refine().await;
            }
            let good = World::of(MODELS).await;
            good.land(&orders.iter().map(|(order, _)| order.clone()).collect::<Vec<_>>(), &[]).await;
            good.refine().await;
            assert_eq!(world.state().await, good.state().await);
        });
    }
}
