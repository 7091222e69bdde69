//! The truth of the landing sets: `weekly_store_product`, folded day by day, so that memory holds a few days and one week.

use std::collections::BTreeMap;

use chrono::{Days, NaiveDate};

use crate::answer::{AnswerTable, Row};
use crate::config::SimConfig;
use crate::json::rounded;
use crate::weekly::calendar::{RetailWeek, week_of};
use crate::weekly::sales::SaleRow;
use crate::weekly::stock::StockRow;

/// Decimals of the impact of low stock: two of the currency's and ten more.
const IMPACT_SCALE: u32 = 12;

/// One (store, product) on one day. Money is in cents.
#[derive(Debug, Default, Clone, Copy)]
struct DayCell {
    has_sale: bool,
    units: i64,
    amount: i64,
    cost: i64,
    ship: i64,
    stock: Option<DayStock>,
}

#[derive(Debug, Clone, Copy)]
struct DayStock {
    on_hand: i32,
    on_order: i32,
    is_out: bool,
}

/// One (store, product) in one week.
#[derive(Debug, Default, Clone, Copy)]
struct WeekCell {
    is_there: bool,
    units: i64,
    amount: i64,
    cost: i64,
    ship: i64,
    /// On hand and on order on the last day with a stock row.
    last_stock: Option<(i32, i32)>,
    out_days: i64,
    out_amount: i64,
    low_days: i64,
    /// In 10^-12 of the currency.
    low_impact: i128,
}

impl WeekCell {
    fn add(&mut self, day: &DayCell) {
        self.is_there |= day.has_sale || day.stock.is_some();
        self.units += day.units;
        self.amount += day.amount;
        self.cost += day.cost;
        self.ship += day.ship;
        let Some(stock) = day.stock else { return };
        self.last_stock = Some((stock.on_hand, stock.on_order));
        if stock.is_out {
            self.out_days += 1;
            self.out_amount += day.amount;
        }
        if i64::from(stock.on_hand) < day.units {
            self.low_days += 1;
            // amount - on hand x amount / units
            let lost = i128::from(day.amount) * i128::from(day.units - i64::from(stock.on_hand));
            self.low_impact += rounded(lost * 10i128.pow(IMPACT_SCALE - 2), i128::from(day.units));
        }
    }

    fn write(&self, row: &mut Row<'_>) {
        let (units, amount) = (i128::from(self.units), i128::from(self.amount));
        row.int(self.units);
        row.decimal(amount, 2);
        row.ratio(amount, units * 100);
        match self.last_stock {
            Some((on_hand, on_order)) => {
                row.int(on_hand);
                row.int(on_order);
            }
            None => {
                row.null();
                row.null();
            }
        }
        row.decimal(self.cost.into(), 2);
        row.decimal(self.ship.into(), 2);
        row.ratio(i128::from(self.out_days) * 100, 7);
        row.ratio(i128::from(7 - self.out_days) * 100, 7);
        row.int(self.out_days + self.low_days);
        row.decimal(self.low_impact, IMPACT_SCALE);
        row.decimal(self.out_amount.into(), 2);
        row.int(self.low_days);
        row.int(self.out_days);
        match self.last_stock {
            Some((on_hand, _)) => row.ratio(on_hand.into(), units),
            None => row.null(),
        }
    }
}

/// Days under way, the week under way, and the rows of the weeks before.
pub(crate) struct WeeklyTally {
    start: NaiveDate,
    products: usize,
    cells: usize,
    days: BTreeMap<u32, Vec<DayCell>>,
    week: Option<(RetailWeek, Vec<WeekCell>)>,
    table: AnswerTable,
}

impl WeeklyTally {
    pub fn new(config: &SimConfig) -> WeeklyTally {
        let products = config.catalog.products as usize;
        let columns = [
            "yr_num",
            "wk_num",
            "store_key",
            "prod_key",
            "total_sales_qty",
            "total_sales_amt",
            "avg_sales_price",
            "inventory_on_hand_qty",
            "inventory_on_order_qty",
            "total_cost",
            "total_ship_cost",
            "out_of_stock_pct",
            "in_stock_pct",
            "total_low_stock_impact",
            "potential_low_stock_impact",
            "no_stock_impact",
            "low_stock_instances",
            "no_stock_instances",
            "weeks_of_supply",
        ];
        WeeklyTally {
            start: config.start,
            products,
            cells: products * config.catalog.stores as usize,
            days: BTreeMap::new(),
            week: None,
            table: AnswerTable::new("weekly_store_product", &columns),
        }
    }

    fn cell(&mut self, day: u32, store: u32, product: u32) -> &mut DayCell {
        let cells = self.cells;
        let of_day = self.days.entry(day).or_insert_with(|| vec![DayCell::default(); cells]);
        &mut of_day[(store as usize - 1) * self.products + product as usize - 1]
    }

    /// Adds the final version of a sale.
    pub fn sale(&mut self, row: &SaleRow) {
        let cell = self.cell(row.day, row.store, row.product);
        cell.has_sale = true;
        cell.units += i64::from(row.quantity);
        cell.amount += row.amount;
        cell.cost += row.cost;
        cell.ship += row.ship;
    }

    /// Adds the final version of a stock row.
    pub fn stock(&mut self, row: &StockRow) {
        let stock = DayStock { on_hand: row.on_hand, on_order: row.on_order, is_out: row.is_out };
        self.cell(row.day, row.store, row.product).stock = Some(stock);
    }

    /// Folds all days before one into their weeks: nothing more is added to them.
    pub fn close_before(&mut self, day: u32) {
        let open = self.days.split_off(&day);
        for (index, cells) in std::mem::replace(&mut self.days, open) {
            let week = week_of(self.start + Days::new(u64::from(index)));
            if self.week.as_ref().is_none_or(|(current, _)| *current != week) {
                self.close_week();
            }
            let (_, of_week) = self.week.get_or_insert_with(|| (week, vec![WeekCell::default(); cells.len()]));
            of_week.iter_mut().zip(&cells).for_each(|(of_week, of_day)| of_week.add(of_day));
        }
    }

    fn close_week(&mut self) {
        let Some((week, cells)) = self.week.take() else { return };
        for (index, cell) in cells.iter().enumerate().filter(|(_, cell)| cell.is_there) {
            self.table.row(|row| {
                row.int(week.year);
                row.int(week.week);
                row.int(index / self.products + 1);
                row.int(index % self.products + 1);
                cell.write(row);
            });
        }
    }

    /// The answer, when all days are in.
    pub fn into_table(mut self) -> AnswerTable {
        self.close_before(u32::MAX);
        self.close_week();
        self.table
    }
}
