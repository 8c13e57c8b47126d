//! Who should own what: a pure function of what all nodes can see, so that they agree without talking to each other.
//! Where they see differently for a moment, the store's conditions decide, and the next look puts it right.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use crate::ids::NodeId;
use crate::shard::RangeId;

/// A node as others see it.
#[derive(Debug, Clone)]
pub(super) struct Candidate {
    pub(super) node: NodeId,
    /// It hands over all it has.
    pub(super) leaving: bool,
    pub(super) owns: Vec<RangeId>,
}

/// What one node should do now.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Moves {
    /// Ranges without an owner that are this node's to take.
    pub(super) take: Vec<RangeId>,
    /// Ranges to hand over, and to whom.
    pub(super) give: Vec<(RangeId, NodeId)>,
}

/// Ranges without an owner go to those who have fewest. Only when there are none, and none is under way from one node
/// to another, nodes with more than their fair share hand over what is too much; a node that leaves always does.
pub(super) fn moves(me: NodeId, members: &[Candidate], orphans: &[RangeId], ranges: usize) -> Moves {
    let shares = shares(members, ranges);
    let mut missing: Vec<NodeId> = Vec::new();
    let mut surplus: Vec<(NodeId, RangeId)> = Vec::new();
    let mut sorted: Vec<&Candidate> = members.iter().collect();
    sorted.sort_by_key(|member| member.node);
    for member in &sorted {
        let share = shares.get(&member.node).copied().unwrap_or(0);
        missing.extend(std::iter::repeat_n(member.node, share.saturating_sub(member.owns.len())));
        surplus.extend(member.owns.iter().skip(share).map(|range| (member.node, *range)));
    }
    let owned: usize = members.iter().map(|member| member.owns.len()).sum();
    let is_settled = orphans.is_empty() && owned == ranges;
    let leaving = |node: NodeId| members.iter().any(|member| member.node == node && member.leaving);
    let take = orphans.iter().zip(&missing).filter(|(_, to)| **to == me).map(|(range, _)| *range);
    let give = surplus.iter().zip(missing.iter().skip(orphans.len()));
    let give = give.filter(|((from, _), _)| *from == me && (is_settled || leaving(me)));
    Moves { take: take.collect(), give: give.map(|((_, range), to)| (*range, *to)).collect() }
}

/// How many ranges each node that stays should own: as many as the others, give or take one, with the larger shares where
/// most is already.
fn shares(members: &[Candidate], ranges: usize) -> BTreeMap<NodeId, usize> {
    let mut staying: Vec<&Candidate> = members.iter().filter(|member| !member.leaving).collect();
    staying.sort_by_key(|member| (Reverse(member.owns.len()), member.node));
    let count = staying.len().max(1);
    let share = |index: usize| ranges / count + usize::from(index < ranges % count);
    staying.iter().enumerate().map(|(index, member)| (member.node, share(index))).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::shard::Ring;

    fn candidate(node: u128, owns: &[RangeId]) -> Candidate {
        Candidate { node: NodeId::new(node), leaving: false, owns: owns.to_vec() }
    }

    fn spread(members: &[Candidate]) -> usize {
        let counts = || members.iter().filter(|member| !member.leaving).map(|member| member.owns.len());
        counts().max().unwrap_or(0) - counts().min().unwrap_or(0)
    }

    /// Every node does its moves at once; gives how many ranges moved from one node to another.
    fn round(members: &mut [Candidate], orphans: &mut Vec<RangeId>, ranges: usize) -> usize {
        let moves: Vec<Moves> =
            members.iter().map(|member| moves(member.node, members, orphans, ranges)).collect();
        let mut given = Vec::new();
        for (member, moves) in members.iter_mut().zip(moves) {
            orphans.retain(|range| !moves.take.contains(range));
            member.owns.extend(moves.take);
            member.owns.retain(|range| moves.give.iter().all(|(given, _)| given != range));
            given.extend(moves.give);
        }
        for (range, to) in &given {
            members.iter_mut().find(|member| member.node == *to).unwrap().owns.push(*range);
        }
        given.len()
    }

    proptest! {
        #[test]
        fn whatever_the_start_two_rounds_balance_it_and_nothing_moves_twice(
            owners in prop::collection::vec(prop::option::of(0_usize..5), 64),
            nodes in 1_usize..6,
            leaving in prop::option::of(0_usize..5),
        ) {
            let ring = Ring::default();
            let mut members: Vec<Candidate> = (0..nodes as u128).map(|node| candidate(node, &[])).collect();
            let mut orphans = Vec::new();
            for (range, owner) in ring.ranges().zip(&owners) {
                match owner.and_then(|owner| members.get_mut(owner)) {
                    Some(member) => member.owns.push(range),
                    None => orphans.push(range),
                }
            }
            if let Some(leaving) = leaving.filter(|leaving| nodes > 1 && *leaving < nodes) {
                members[leaving].leaving = true;
            }
            round(&mut members, &mut orphans, 64);
            round(&mut members, &mut orphans, 64);
            prop_assert!(orphans.is_empty());
            prop_assert!(spread(&members) <= 1, "{members:?}");
            prop_assert!(members.iter().all(|member| !member.leaving || member.owns.is_empty()));
            let mut owned: Vec<RangeId> = members.iter().flat_map(|member| member.owns.clone()).collect();
            owned.sort_unstable();
            prop_assert!(owned.into_iter().eq(ring.ranges()));
            prop_assert_eq!(round(&mut members, &mut orphans, 64), 0, "it comes to rest");
        }
    }

    #[test]
    fn a_node_that_joins_gets_its_share_and_nobody_else_moves_anything() {
        let all: Vec<RangeId> = Ring::default().ranges().collect();
        let mut members = vec![candidate(7, &all[..32]), candidate(3, &all[32..]), candidate(5, &[])];
        assert_eq!(round(&mut members, &mut Vec::new(), 64), 21);
        assert_eq!(members.iter().map(|member| member.owns.len()).collect::<Vec<_>>(), [21, 22, 21]);
    }

    #[test]
    fn while_a_range_is_under_way_nothing_else_is_handed_over() {
        let all: Vec<RangeId> = Ring::default().ranges().collect();
        let members = [candidate(7, &all[..62]), candidate(3, &[])];
        assert_eq!(moves(NodeId::new(7), &members, &[], 64), Moves::default());
        assert_eq!(moves(NodeId::new(3), &members, &all[62..], 64).take, all[62..]);
    }
}
