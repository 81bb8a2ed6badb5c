//! The champion's decision regions, and the newest predictions on them.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;

use super::bodies::Scatter;
use super::parameters::{Axes, Params};
use crate::problem::Problem;
use crate::scatter::{Point, Regions};
use crate::shared::SharedState;

/// The champion's decision regions over two features, and the newest predictions as points.
#[utoipa::path(get, path = "/api/v1/scatter", params(Axes), responses(
    (status = 200, body = Scatter), (status = 400, body = Problem, content_type = "application/problem+json"),
    (status = 404, description = "There is no champion yet.", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn scatter(
    Params(axes): Params<Axes>,
    State(shared): State<Arc<SharedState>>,
) -> Result<Json<Scatter>, Problem> {
    let (regions, points) = regions_and_points(&shared, &axes).await?;
    Ok(Json(Scatter {
        regions: (*regions).clone(),
        points,
    }))
}

/// Returns the champion's decision regions over two features, and the newest predictions as points.
///
/// # Errors
/// [`Problem`] if a feature is unknown, or there is no champion with these features.
pub(crate) async fn regions_and_points(
    shared: &Arc<SharedState>,
    axes: &Axes,
) -> Result<(Arc<Regions>, Vec<Point>), Problem> {
    let (features, champion) = {
        let state = shared.read();
        (state.schema.features.clone(), state.champion.clone())
    };
    let (x, y) = axes.positions(&features)?;
    let not_found = |detail| Problem::new(StatusCode::NOT_FOUND, detail);
    let champion = champion.ok_or_else(|| {
        not_found("There is no champion yet: no classifier has registered a model.")
    })?;
    let is_imported = champion.training_set().is_empty();
    let keeper = Arc::clone(shared);
    let regions = tokio::task::spawn_blocking(move || keeper.regions(&champion, x, y)).await;
    let regions = regions.ok().flatten().ok_or_else(|| {
        not_found(if is_imported {
            "There are no predictions yet: the regions of an imported model are within their ranges."
        } else {
            "The champion was trained on other features than dataset.features names."
        })
    })?;
    let points = regions.points(shared.read().predictions.iter());
    Ok((regions, points))
}
