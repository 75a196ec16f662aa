//! Which filters of a route see bodies, and how they are shown. It knows nothing of sockets.

use super::{
    BodyAccess, BodyPart, Error, Exchange, Filter, Flow, Reply, RequestBody, RequestHeader,
    ResponseBody,
};
use http::StatusCode;
use std::sync::Arc;

/// The filters of a route that see a body, in the order in which they see it.
pub(crate) struct BodyFilters {
    pub(crate) filters: Box<[(Arc<dyn Filter>, BodyAccess)]>,
    /// The most bytes of a body, where one of the filters wants it whole.
    pub(crate) max_whole_size: Option<usize>,
    /// Whether one of them may change the body.
    pub(crate) changes: bool,
}

impl BodyFilters {
    /// Those of these filters that see request bodies, if any.
    pub(crate) fn of_requests(filters: &[Arc<dyn Filter>]) -> Option<Box<Self>> {
        Self::of(filters.iter().map(|filter| (filter, filter.request_body())))
    }

    /// Those of these filters that see response bodies, if any.
    pub(crate) fn of_responses(filters: &[Arc<dyn Filter>]) -> Option<Box<Self>> {
        Self::of(filters.iter().rev().map(|filter| (filter, filter.response_body())))
    }

    fn of<'f>(
        filters: impl Iterator<Item = (&'f Arc<dyn Filter>, BodyAccess)>,
    ) -> Option<Box<Self>> {
        let filters: Box<[_]> = filters
            .filter(|(_, access)| *access != BodyAccess::None)
            .map(|(filter, access)| (Arc::clone(filter), access))
            .collect();
        let max = |(_, access): &(_, BodyAccess)| match access {
            BodyAccess::Whole { max } => Some(*max),
            _ => None,
        };
        let max_whole_size = filters.iter().filter_map(max).min();
        let changes = filters.iter().any(|(_, access)| access.changes());
        (!filters.is_empty()).then(|| Box::new(Self { filters, max_whole_size, changes }))
    }

    /// Shows a part of a request's body, or the whole of it, to all of them. Returns the answer of the first that answers.
    pub(crate) async fn show_request(
        &self,
        part: BodyPart<'_>,
        head: &RequestHeader,
        exchange: &mut Exchange,
    ) -> Result<Option<Reply>, Error> {
        let BodyPart { bytes, offset, is_end } = part;
        for (filter, access) in &self.filters {
            let part = BodyPart { bytes: &mut *bytes, offset, is_end };
            let reply = show_request(&**filter, *access, part, head, exchange).await?;
            if reply.is_some() {
                return Ok(reply);
            }
        }
        Ok(None)
    }
}

/// Shows a part of a request's body, or the whole of it, to a filter. Returns its answer, if it answers.
pub(crate) async fn show_request(
    filter: &dyn Filter,
    access: BodyAccess,
    part: BodyPart<'_>,
    head: &RequestHeader,
    exchange: &mut Exchange,
) -> Result<Option<Reply>, Error> {
    let BodyPart { bytes, offset, is_end } = part;
    let mut shown = bytes.clone();
    let part = BodyPart { bytes: &mut shown, offset, is_end };
    let mut body = RequestBody { part, head, exchange };
    if let Flow::Respond(reply) = filter.on_request_body(&mut body).await? {
        return Ok(Some(reply));
    }
    // What one that only observes has put in its place is dropped.
    if access.changes() {
        *bytes = shown;
    }
    Ok(None)
}

/// Shows a part of a response's body, or the whole of it, to a filter.
pub(crate) fn show_response(
    filter: &dyn Filter,
    access: BodyAccess,
    part: BodyPart<'_>,
    status: StatusCode,
    exchange: &mut Exchange,
) -> Result<(), Error> {
    let BodyPart { bytes, offset, is_end } = part;
    let mut shown = bytes.clone();
    let part = BodyPart { bytes: &mut shown, offset, is_end };
    filter.on_response_body(&mut ResponseBody { part, status, exchange })?;
    if access.changes() {
        *bytes = shown;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Wants(BodyAccess);

    impl Filter for Wants {
        fn request_body(&self) -> BodyAccess {
            self.0
        }
    }

    fn of(wanted: &[BodyAccess]) -> Option<Box<BodyFilters>> {
        let filters: Vec<Arc<dyn Filter>> =
            wanted.iter().map(|access| Arc::new(Wants(*access)) as _).collect();
        assert!(BodyFilters::of_responses(&filters).is_none());
        BodyFilters::of_requests(&filters)
    }

    #[test]
    fn route_collects_bodies_up_to_the_smallest_bound_of_its_filters() {
        assert!(of(&[BodyAccess::None, BodyAccess::None]).is_none());
        let observed = of(&[BodyAccess::None, BodyAccess::Observe]).unwrap();
        assert_eq!(
            (observed.filters.len(), observed.max_whole_size, observed.changes),
            (1, None, false)
        );
        let whole =
            [BodyAccess::Whole { max: 9 }, BodyAccess::Chunks, BodyAccess::Whole { max: 7 }];
        let whole = of(&whole).unwrap();
        assert_eq!((whole.filters.len(), whole.max_whole_size, whole.changes), (3, Some(7), true));
    }
}
