//! Changes of one item.

use bytes::Bytes;

use super::action::{Kind, Obstacle, Request};
use super::{NOTHING, parse};
use crate::commit::Waiting;
use crate::database::Inner;
use crate::error::Refusal;

pub(super) fn put(inner: &Inner, body: &[u8]) -> Result<Waiting<Bytes>, Refusal> {
    write(inner, body, Kind::Put)
}

pub(super) fn update(inner: &Inner, body: &[u8]) -> Result<Waiting<Bytes>, Refusal> {
    write(inner, body, Kind::Update)
}

pub(super) fn delete(inner: &Inner, body: &[u8]) -> Result<Waiting<Bytes>, Refusal> {
    write(inner, body, Kind::Delete)
}

fn write(inner: &Inner, body: &[u8], kind: Kind) -> Result<Waiting<Bytes>, Refusal> {
    let request: Request<'_> = parse(body)?;
    loop {
        let action = request.prepare(inner, kind)?;
        let mut is_stale = false;
        let written = inner.commits.write(|pending| {
            if !inner.tables.has(&action.table) {
                is_stale = true;
                return Ok(NOTHING);
            }
            let effect = action.plan(pending).map_err(|obstacle| match obstacle {
                Obstacle::Condition(found) => Refusal::ConditionFailed(found),
                Obstacle::Item(text) => Refusal::Invalid(text),
                Obstacle::Request(refusal) => refusal,
            })?;
            let answer = match action.returned(&effect)? {
                Some(item) => [b"{\"Attributes\":", item.as_slice(), b"}"].concat().into(),
                None => NOTHING,
            };
            effect.apply(pending);
            Ok(answer)
        });
        // The table was changed between the two looks; it is not for long.
        if !is_stale {
            return Ok(written);
        }
    }
}
