//! Counts the bytes of bodies that the gateway collects for filters, of one client and of all together. Knows nothing of
//! filters.

use super::{ClientLoad, OverloadControl};
use crate::snapshot::RequestLimits;
use bytesize::ByteSize;
use std::sync::Arc;

/// The collected bytes of one body. They no longer count when this is dropped.
#[derive(Debug)]
pub(crate) struct CollectedBytes {
    overload: Arc<OverloadControl>,
    /// Who made the gateway collect them, where that is counted.
    client: Option<Arc<ClientLoad>>,
    bytes: usize,
    max_total: usize,
    max_per_client: usize,
}

/// The limit that a body would exceed together with others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CollectedLimit {
    /// `limits.collected_bodies`.
    Total,
    /// `limits.collected_bodies_per_client`.
    PerClient,
}

impl CollectedBytes {
    /// A body of which nothing has been collected yet.
    pub(crate) fn new(
        overload: &Arc<OverloadControl>,
        client: Option<&Arc<ClientLoad>>,
        limits: &RequestLimits,
    ) -> Self {
        Self {
            overload: Arc::clone(overload),
            client: client.cloned(),
            bytes: 0,
            max_total: limits.collected_bodies,
            max_per_client: limits.collected_bodies_per_client,
        }
    }

    /// The most bytes of a body for which there is room while no other is collected.
    pub(crate) fn max(&self) -> usize {
        match self.client {
            Some(_) => self.max_total.min(self.max_per_client),
            None => self.max_total,
        }
    }

    /// Counts further bytes, unless there is no room for them.
    pub(crate) fn add(&mut self, bytes: usize) -> Result<(), CollectedLimit> {
        if let Some(client) = &self.client
            && !client.add_collected(bytes, self.max_per_client)
        {
            if self.overload.collected_bodies_per_client.should_log() {
                log::warn!(
                    "filters read bodies of client {} whole that together have more than {}, the \
                     limit for one client (limits.collected_bodies_per_client): the gateway \
                     answers further ones with 429",
                    client.address(),
                    ByteSize(self.max_per_client as u64)
                );
            }
            return Err(CollectedLimit::PerClient);
        }
        if !self.overload.add_collected(bytes, self.max_total) {
            if let Some(client) = &self.client {
                client.remove_collected(bytes);
            }
            if self.overload.collected_bodies.should_log() {
                log::warn!(
                    "filters read bodies whole that together have more than {}, the limit \
                     (limits.collected_bodies): the gateway answers further ones with 503",
                    ByteSize(self.max_total as u64)
                );
            }
            return Err(CollectedLimit::Total);
        }
        self.bytes += bytes;
        Ok(())
    }

    /// Counts so many bytes instead: what filters have made of the body. There is no limit for that, because the memory
    /// is in use already.
    pub(crate) fn replace(&mut self, bytes: usize) {
        self.remove();
        self.overload.add_collected(bytes, usize::MAX);
        if let Some(client) = &self.client {
            client.add_collected(bytes, usize::MAX);
        }
        self.bytes = bytes;
    }

    fn remove(&self) {
        self.overload.remove_collected(self.bytes);
        if let Some(client) = &self.client {
            client.remove_collected(self.bytes);
        }
    }
}

impl Drop for CollectedBytes {
    fn drop(&mut self) {
        self.remove();
    }
}

#[cfg(test)]
mod tests {
    use super::super::Clients;
    use super::*;

    fn body(
        overload: &Arc<OverloadControl>,
        client: Option<&Arc<ClientLoad>>,
        (max_total, max_per_client): (usize, usize),
    ) -> CollectedBytes {
        let (overload, client) = (Arc::clone(overload), client.cloned());
        CollectedBytes { overload, client, bytes: 0, max_total, max_per_client }
    }

    #[test]
    fn bytes_count_for_their_client_and_for_all_until_they_are_dropped() {
        let overload = Arc::new(OverloadControl::new(1));
        let clients = Arc::new(Clients::default());
        let one = clients.find("192.0.2.1".parse().unwrap());
        let other = clients.find("192.0.2.2".parse().unwrap());
        let limits = (10, 6);
        let mut first = body(&overload, Some(&one), limits);
        assert_eq!(first.add(4), Ok(()));
        let mut second = body(&overload, Some(&one), limits);
        assert_eq!(second.add(3), Err(CollectedLimit::PerClient));
        assert_eq!(second.add(2), Ok(()));
        let mut third = body(&overload, Some(&other), limits);
        assert_eq!(third.add(5), Err(CollectedLimit::Total));
        assert_eq!(third.add(4), Ok(()));
        let mut unknown = body(&overload, None, limits);
        assert_eq!(unknown.add(1), Err(CollectedLimit::Total));
        assert_eq!((unknown.max(), third.max()), (10, 6));
        first.replace(1);
        assert_eq!(unknown.add(3), Ok(()));
        assert_eq!(overload.collected_bytes(), 10);
        drop((first, second, third, unknown));
        assert_eq!(overload.collected_bytes(), 0);
        let mut again = body(&overload, Some(&one), limits);
        assert_eq!(again.add(6), Ok(()), "nothing is left of the others");
    }

    #[test]
    fn filter_that_enlarges_a_body_takes_room_from_others() {
        let overload = Arc::new(OverloadControl::new(1));
        let mut large = body(&overload, None, (10, 10));
        assert_eq!(large.add(1), Ok(()));
        large.replace(12);
        assert_eq!(body(&overload, None, (10, 10)).add(1), Err(CollectedLimit::Total));
        drop(large);
        assert_eq!(overload.collected_bytes(), 0);
    }
}
