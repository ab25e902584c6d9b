//! What the scheduler promises: by example, and for any graph.

use proptest::prelude::*;

use super::*;

fn graph(needs: &[&[NodeId]]) -> Graph {
    let vertices =
        needs.iter().map(|needs| Vertex { needs: needs.to_vec(), weight: 1, ..Vertex::default() }).collect();
    Graph { vertices, fail_fast: vec![false], ..Graph::default() }
}

fn scheduler(graph: Graph, jobs: usize) -> Scheduler {
    let order: Vec<_> = (0..graph.vertices.len()).collect();
    Scheduler::new(graph, &order, jobs)
}

#[test]
fn the_longest_remaining_path_starts_first() {
    // 0 stands alone; 1 -> 2 -> 3 is a chain: with one job the chain's head goes first.
    let mut scheduler = scheduler(graph(&[&[], &[], &[1], &[2]]), 1);
    assert_eq!(scheduler.handle(Input::Begin), [Command::Start(1)]);
    assert_eq!(scheduler.handle(Input::Ended(1, End::Succeeded)), [Command::Start(2)]);
}

#[test]
fn a_failed_need_skips_its_dependents_and_nothing_else() {
    let mut scheduler = scheduler(graph(&[&[], &[0], &[1], &[]]), 2);
    assert_eq!(scheduler.handle(Input::Begin), [Command::Start(0), Command::Start(3)]);
    assert_eq!(scheduler.handle(Input::Ended(0, End::Failed)), [Command::Skip(1, 0), Command::Skip(2, 1)]);
    assert!(!scheduler.is_done());
    assert_eq!(scheduler.handle(Input::Ended(3, End::Succeeded)), []);
    assert!(scheduler.is_done());
}

#[test]
fn a_node_that_decides_itself_starts_after_a_failed_need() {
    let mut graph = graph(&[&[], &[0]]);
    graph.vertices[1].decides_itself = true;
    let mut scheduler = scheduler(graph, 1);
    scheduler.handle(Input::Begin);
    assert_eq!(scheduler.handle(Input::Ended(0, End::Failed)), [Command::Start(1)]);
}

#[test]
fn after_orders_without_needing_success() {
    let mut graph = graph(&[&[], &[]]);
    graph.vertices[1].after = vec![0];
    let mut scheduler = scheduler(graph, 2);
    assert_eq!(scheduler.handle(Input::Begin), [Command::Start(0)]);
    assert_eq!(scheduler.handle(Input::Ended(0, End::Failed)), [Command::Start(1)]);
}

#[test]
fn exclusive_nodes_run_one_at_a_time_and_let_others_pass() {
    let mut graph = graph(&[&[], &[], &[]]);
    graph.vertices[0].group = Some(7);
    graph.vertices[1].group = Some(7);
    let mut scheduler = scheduler(graph, 3);
    assert_eq!(scheduler.handle(Input::Begin), [Command::Start(0), Command::Start(2)]);
    assert_eq!(scheduler.handle(Input::Ended(0, End::Succeeded)), [Command::Start(1)]);
}

#[test]
fn a_group_with_more_room_runs_so_many_at_a_time() {
    let mut graph = graph(&[&[], &[], &[], &[]]);
    graph.room.insert(7, 2);
    for node in 0..3 {
        graph.vertices[node].group = Some(7);
    }
    let mut scheduler = scheduler(graph, 4);
    let first = [Command::Start(0), Command::Start(1), Command::Start(3)];
    assert_eq!(scheduler.handle(Input::Begin), first);
    assert_eq!(scheduler.handle(Input::Ended(3, End::Succeeded)), []);
    assert_eq!(scheduler.handle(Input::Ended(1, End::Failed)), [Command::Start(2)]);
}

#[test]
fn fail_fast_cancels_the_rest_of_its_own_run_only() {
    let mut graph = graph(&[&[], &[], &[]]);
    graph.fail_fast = vec![true, false];
    graph.vertices[2].run = 1;
    let mut scheduler = scheduler(graph, 1);
    assert_eq!(scheduler.handle(Input::Begin), [Command::Start(0)]);
    assert_eq!(scheduler.handle(Input::Ended(0, End::Failed)), [Command::Cancel(1), Command::Start(2)]);
}

#[test]
fn stop_cancels_what_has_not_started_and_waits_for_the_rest() {
    let mut scheduler = scheduler(graph(&[&[], &[], &[0]]), 1);
    scheduler.handle(Input::Begin);
    assert_eq!(scheduler.handle(Input::Stop), [Command::Cancel(1), Command::Cancel(2)]);
    assert!(!scheduler.is_done());
    assert_eq!(scheduler.handle(Input::Ended(0, End::NotRun)), []);
    assert!(scheduler.is_done());
}

/// A graph whose node 0 takes no job.
fn graph_without_job(needs: &[&[NodeId]]) -> Graph {
    let mut graph = graph(needs);
    graph.vertices[0].takes_no_job = true;
    graph
}

#[test]
fn a_node_that_takes_no_job_starts_while_all_jobs_are_taken() {
    let mut graph = graph(&[&[], &[], &[1]]);
    graph.vertices[1].takes_no_job = true;
    let mut scheduler = scheduler(graph, 1);
    assert_eq!(scheduler.handle(Input::Begin), [Command::Start(1), Command::Start(0)]);
    assert_eq!(scheduler.running(), 1);
    assert_eq!(scheduler.handle(Input::Ended(1, End::Succeeded)), []);
    assert_eq!(scheduler.handle(Input::Ended(0, End::Succeeded)), [Command::Start(2)]);
}

#[test]
fn a_node_that_takes_no_job_still_holds_up_its_dependents() {
    let mut scheduler = scheduler(graph_without_job(&[&[], &[0], &[]]), 1);
    assert_eq!(scheduler.handle(Input::Begin), [Command::Start(0), Command::Start(2)]);
    assert_eq!(scheduler.handle(Input::Ended(2, End::Succeeded)), []);
    assert_eq!(scheduler.running(), 0);
    assert!(!scheduler.is_done());
    assert_eq!(scheduler.handle(Input::Ended(0, End::Succeeded)), [Command::Start(1)]);
    assert_eq!(scheduler.handle(Input::Ended(1, End::Succeeded)), []);
    assert!(scheduler.is_done());
}

#[test]
fn stop_and_fail_fast_leave_a_node_that_takes_no_job_to_its_owner() {
    let mut graph = graph_without_job(&[&[], &[], &[0], &[]]);
    graph.fail_fast = vec![true];
    let mut scheduler = scheduler(graph, 2);
    let started = [Command::Start(0), Command::Start(1), Command::Start(3)];
    assert_eq!(scheduler.handle(Input::Begin), started);
    assert_eq!(scheduler.handle(Input::Ended(1, End::Failed)), [Command::Cancel(2)]);
    assert_eq!(scheduler.handle(Input::Stop), []);
    assert_eq!(scheduler.handle(Input::Ended(3, End::NotRun)), []);
    assert!(!scheduler.is_done());
    assert_eq!(scheduler.handle(Input::Ended(0, End::NotRun)), []);
    assert!(scheduler.is_done());
}

#[test]
fn nodes_ended_by_an_earlier_engine_are_not_started_again() {
    let mut scheduler = scheduler(graph(&[&[], &[0], &[1]]), 1);
    assert_eq!(scheduler.handle(Input::Ended(0, End::Succeeded)), []);
    assert_eq!(scheduler.handle(Input::Begin), [Command::Start(1)]);
}

#[test]
fn a_chain_of_a_hundred_thousand_neither_recurses_nor_crawls() {
    let count = 100_000;
    let vertices = (0..count)
        .map(|node: usize| Vertex {
            needs: node.checked_sub(1).into_iter().collect(),
            weight: 1,
            ..Vertex::default()
        })
        .collect();
    let mut scheduler = scheduler(Graph { vertices, fail_fast: vec![false], ..Graph::default() }, 4);
    scheduler.handle(Input::Begin);
    let commands = scheduler.handle(Input::Ended(0, End::Failed));
    assert_eq!(commands.len(), count - 1);
    assert!(scheduler.is_done());
}

/// Random graphs whose edges point to earlier nodes, with random ends.
fn cases() -> impl Strategy<Value = (Vec<Vec<NodeId>>, Vec<u8>, usize, Vec<bool>, usize)> {
    (1_usize..40).prop_flat_map(|count| {
        let needs = (0..count)
            .map(|node| proptest::collection::vec(0..node.max(1), 0..3.min(node + 1)))
            .map(|needs| needs.prop_map(|needs| needs))
            .collect::<Vec<_>>();
        (
            needs,
            proptest::collection::vec(0_u8..10, count),
            1_usize..6,
            proptest::collection::vec(any::<bool>(), count),
            0_usize..120,
        )
    })
}

proptest! {
    #[test]
    fn every_node_ends_once_after_its_needs_within_the_limit(
        (needs, ends, jobs, choices, stop_at) in cases()
    ) {
        let vertices: Vec<Vertex> = needs
            .iter()
            .enumerate()
            .map(|(node, needs)| {
                let mut needs: Vec<_> = needs.iter().copied().filter(|&need| need < node).collect();
                needs.sort_unstable();
                needs.dedup();
                let takes_no_job = ends[node] >= 8;
                let group = (choices[node] && !takes_no_job).then_some(1);
                Vertex { needs, weight: u64::from(ends[node]), group, takes_no_job, ..Vertex::default() }
            })
            .collect();
        let count = vertices.len();
        let order: Vec<_> = (0..count).collect();
        let mut scheduler =
            Scheduler::new(Graph { vertices: vertices.clone(), fail_fast: vec![false], ..Graph::default() }, &order, jobs);
        let mut ended: Vec<Option<End>> = vec![None; count];
        let mut running: Vec<NodeId> = Vec::new();
        let mut jobless: Vec<NodeId> = Vec::new();
        let mut queue = scheduler.handle(Input::Begin);
        let mut stopped = false;
        for step in 0..=(3 * count + 2) {
            for command in queue.drain(..) {
                match command {
                    Command::Start(node) => {
                        prop_assert!(!stopped);
                        prop_assert!(ended[node].is_none() && !running.contains(&node) && !jobless.contains(&node));
                        for &need in &vertices[node].needs {
                            prop_assert_eq!(ended[need], Some(End::Succeeded));
                        }
                        if ends[node] >= 8 { jobless.push(node) } else { running.push(node) }
                    }
                    Command::Skip(node, need) => {
                        prop_assert!(ended[node].is_none());
                        prop_assert!(matches!(ended[need], Some(End::Failed | End::NotRun)));
                        ended[node] = Some(End::NotRun);
                    }
                    Command::Cancel(node) => {
                        prop_assert!(stopped && ended[node].is_none());
                        ended[node] = Some(End::NotRun);
                    }
                }
            }
            prop_assert!(running.len() <= jobs);
            prop_assert!(running.iter().filter(|&&node| choices[node]).count() <= 1);
            prop_assert_eq!(running.len(), scheduler.running());
            if running.is_empty() && jobless.is_empty() {
                break;
            }
            if step == stop_at {
                stopped = true;
                queue = scheduler.handle(Input::Stop);
                continue;
            }
            // What takes no job ends last: by then everything else had its chance to start.
            let node = if running.is_empty() { jobless.remove(0) } else { running.remove(step % running.len()) };
            let end = if ends[node] == 0 { End::Failed } else { End::Succeeded };
            ended[node] = Some(end);
            queue = scheduler.handle(Input::Ended(node, end));
        }
        prop_assert!(scheduler.is_done());
        prop_assert!(ended.iter().all(Option::is_some));
    }
}

#[test]
fn what_a_node_is_taken_apart_into_runs_before_its_dependents_and_is_as_urgent_as_they_are() {
    // 0 is taken apart and 1 needs it; 2 stands alone.
    let mut scheduler = scheduler(graph_without_job(&[&[], &[0], &[]]), 1);
    assert_eq!(scheduler.handle(Input::Begin), [Command::Start(0), Command::Start(2)]);
    let inner = |needs: &[NodeId]| Vertex { needs: needs.to_vec(), weight: 1, ..Vertex::default() };
    let vertices = vec![inner(&[]), inner(&[3]), inner(&[])];
    assert_eq!(scheduler.grow(0, vertices, &[3, 4, 5], &[(5, End::Succeeded)]), []);
    assert_eq!(scheduler.handle(Input::Ended(2, End::Succeeded)), [Command::Start(3)]);
    assert_eq!(scheduler.handle(Input::Ended(3, End::Succeeded)), [Command::Start(4)]);
    assert_eq!(scheduler.handle(Input::Ended(4, End::Succeeded)), []);
    assert_eq!(scheduler.handle(Input::Ended(0, End::Succeeded)), [Command::Start(1)]);
    assert_eq!(scheduler.handle(Input::Ended(1, End::Succeeded)), []);
    assert!(scheduler.is_done());
}

#[test]
fn what_is_added_to_a_run_that_is_being_stopped_is_cancelled() {
    let mut scheduler = scheduler(graph_without_job(&[&[]]), 1);
    scheduler.handle(Input::Begin);
    scheduler.handle(Input::Stop);
    let vertices = vec![Vertex::default(), Vertex { needs: vec![1], ..Vertex::default() }];
    assert_eq!(scheduler.grow(0, vertices, &[1, 2], &[]), [Command::Cancel(1), Command::Cancel(2)]);
    scheduler.handle(Input::Ended(0, End::NotRun));
    assert!(scheduler.is_done());
}
