//! The text in place of a piece that has nothing to show.

use askama::Template;

#[derive(Template)]
#[template(source = "<p class=\"empty\">{{ reason }}</p>", ext = "html")]
struct EmptyView<'a> {
    reason: &'a str,
}

/// Renders the reason why there is nothing to show.
///
/// # Errors
/// If the template cannot be rendered.
pub(crate) fn empty(reason: &str) -> askama::Result<String> {
    EmptyView { reason }.render()
}
