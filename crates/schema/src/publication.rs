//! Publications: the figures of a table that go out as files, a file a window (`publish` of a model's header).

/// How a table of windows is published.
///
/// ```toml
/// [publish]
/// window = "window_start"          # a timestamp column of the grain: where a window starts
/// width = "1m"                     # how long a window is
/// stream = "invoices"              # the stream whose event time says when a window is complete
/// lateness = "10m"                 # how long late events are waited for
/// figures.orders_per_minute = "invoices"
/// figures.rate_of_return = "ratio(returns, invoices)"
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Publication {
    /// The column that holds the start of a row's window.
    pub window: String,
    /// The length of a window in seconds.
    pub width_seconds: u64,
    /// The stream whose events fill the windows.
    pub stream: String,
    /// How far behind the greatest event time a window is taken to be complete, in seconds.
    pub lateness_seconds: u64,
    /// What is published of a row: name and SQL expression over the table's columns, in file order.
    pub figures: Vec<(String, String)>,
}
