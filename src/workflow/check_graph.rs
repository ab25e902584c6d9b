//! Edges and stages: names in `needs` and `after` become positions, each node gets its stage. Cycles are left to
//! `plan`; nothing here depends on there being none.

use std::collections::HashMap;

use super::check::{Check, Draft};
use super::check_names;
use super::file_values::Text;
use super::model::Reference;
use super::problem::{Problem, Span};
use super::suggest::{self, NodeIndex};
use super::yaml::{Yaml, shorten};

/// The edges of every node, by position.
pub(super) struct Links {
    needs: Vec<Vec<(usize, Reference)>>,
    after: Vec<Vec<(usize, Reference)>>,
}

/// The edges of one node.
pub(super) struct NodeLinks<'l> {
    pub needs: &'l [(usize, Reference)],
    pub after: &'l [(usize, Reference)],
}

impl Links {
    pub fn of(&self, node: usize) -> NodeLinks<'_> {
        NodeLinks { needs: &self.needs[node], after: &self.after[node] }
    }

    fn all(&self, node: usize) -> impl Iterator<Item = &(usize, Reference)> {
        self.needs[node].iter().chain(&self.after[node])
    }
}

impl Check<'_> {
    /// Resolves `needs` and `after` of all nodes.
    pub(super) fn links(&mut self, drafts: &[Draft<'_, '_>], indexes: &[NodeIndex]) -> Links {
        let mut links =
            Links { needs: Vec::with_capacity(drafts.len()), after: Vec::with_capacity(drafts.len()) };
        for draft in drafts {
            let needs = self.edges(draft, "needs", draft.file.needs.as_deref(), drafts, indexes);
            let after = self.edges(draft, "after", draft.file.after.as_deref(), drafts, indexes);
            self.both(&needs, &after);
            links.needs.push(needs);
            links.after.push(after);
        }
        links
    }

    fn edges(
        &mut self,
        draft: &Draft<'_, '_>,
        key: &str,
        names: Option<&[Text]>,
        drafts: &[Draft<'_, '_>],
        indexes: &[NodeIndex],
    ) -> Vec<(usize, Reference)> {
        let index = &indexes[draft.unit.index];
        let items = draft.yaml.get(key).map_or(&[][..], Yaml::items);
        let mut seen: HashMap<usize, Span> = HashMap::new();
        let mut edges = Vec::new();
        for (Text(name), item) in names.unwrap_or_default().iter().zip(items) {
            match index.place(name) {
                None => self.problems.push(unknown(key, name, item.span, index)),
                Some(at) if drafts[at].span == draft.span && drafts[at].name == draft.name => {
                    self.problems.push(own(key, draft, item.span));
                }
                Some(at) => match seen.insert(at, item.span) {
                    Some(first) => self.problems.push(check_names::twice("node", name, item.span, first)),
                    None => {
                        let node = drafts[at].name.clone();
                        edges.push((at, Reference { node, span: item.span }));
                    }
                },
            }
        }
        edges
    }

    /// `after` adds nothing to a need.
    fn both(&mut self, needs: &[(usize, Reference)], after: &[(usize, Reference)]) {
        if after.is_empty() {
            return;
        }
        let needed: HashMap<usize, Span> =
            needs.iter().map(|(at, reference)| (*at, reference.span)).collect();
        for (at, reference) in after {
            if let Some(need) = needed.get(at) {
                self.problems.push(
                    Problem::warning(
                        "spb::after::redundant",
                        reference.span,
                        format!("`{}` is already among the `needs`", reference.node),
                    )
                    .label("adds nothing")
                    .also(*need, "needed here")
                    .help("a need is always waited for: remove it from `after`"),
                );
            }
        }
    }

    /// The stage of each node: the one it names, else the latest among what it waits for, else the first.
    pub(super) fn place_in_stages(
        &mut self,
        drafts: &[Draft<'_, '_>],
        links: &Links,
        stages: &[(String, Span)],
    ) -> Vec<usize> {
        let known: HashMap<&str, usize> =
            stages.iter().enumerate().map(|(at, (name, _))| (name.as_str(), at)).collect();
        let named: Vec<Option<usize>> =
            drafts.iter().map(|draft| self.named_stage(draft, stages, &known)).collect();
        let placed = latest(&named, links);
        for (at, draft) in drafts.iter().enumerate().filter(|(at, _)| named[*at].is_some()) {
            for (need, reference) in links.all(at).filter(|(need, _)| placed[*need] > placed[at]) {
                self.problems.push(later_stage(
                    draft,
                    &drafts[*need],
                    reference,
                    &stages[placed[at]].0,
                    &stages[placed[*need]].0,
                ));
            }
        }
        placed
    }

    fn named_stage(
        &mut self,
        draft: &Draft<'_, '_>,
        stages: &[(String, Span)],
        known: &HashMap<&str, usize>,
    ) -> Option<usize> {
        let Text(name) = draft.file.stage.as_ref()?;
        let found = known.get(name.as_str()).copied();
        if found.is_none() {
            let span = draft.yaml.get("stage").map_or(draft.span, |yaml| yaml.span);
            let problem =
                Problem::error("spb::stage::unknown", span, format!("there is no stage `{}`", shorten(name)))
                    .label("unknown stage");
            let names = || stages.iter().map(|(name, _)| name.as_str());
            let declared = stages.iter().any(|(_, span)| *span != Span::default());
            self.problems.push(match suggest::nearest(name, names()) {
                Some(near) => problem.help(format!("did you mean `{near}`?")),
                None if declared => problem.help(format!("stages: {}", suggest::list(names()))),
                None => problem.help(format!("declare it at the top level: `stages: [{}]`", shorten(name))),
            });
        }
        found
    }
}

/// Default stages, without recursion: a depth-first walk with a stack of its own. A node that is reached again while
/// it is open closes a cycle, which `plan` reports; the edge counts for nothing here.
fn latest(named: &[Option<usize>], links: &Links) -> Vec<usize> {
    let mut placed: Vec<Option<usize>> = named.to_vec();
    let mut open = vec![false; named.len()];
    for root in 0..named.len() {
        let mut stack = vec![root];
        while let Some(&node) = stack.last() {
            if placed[node].is_some() {
                stack.pop();
                continue;
            }
            if !open[node] {
                open[node] = true;
                stack.extend(
                    links
                        .all(node)
                        .map(|(need, _)| *need)
                        .filter(|need| placed[*need].is_none() && !open[*need]),
                );
                continue;
            }
            let stage = links.all(node).filter_map(|(need, _)| placed[*need]).max();
            placed[node] = Some(stage.unwrap_or(0));
            stack.pop();
        }
    }
    placed.into_iter().map(Option::unwrap_or_default).collect()
}

fn unknown(key: &str, name: &str, span: Span, index: &NodeIndex) -> Problem {
    let code = if key == "needs" { "spb::needs::unknown" } else { "spb::after::unknown" };
    check_names::unknown_node(code, name, span, index.nearest(name))
}

fn own(key: &str, draft: &Draft<'_, '_>, span: Span) -> Problem {
    Problem::error("spb::needs::itself", span, format!("`{}` waits for itself", draft.name))
        .label("the node itself")
        .help(format!("remove it from `{key}`"))
}

fn later_stage(
    draft: &Draft<'_, '_>,
    need: &Draft<'_, '_>,
    reference: &Reference,
    own: &str,
    later: &str,
) -> Problem {
    let problem = Problem::error(
        "spb::stage::later",
        reference.span,
        format!("`{}` of stage `{own}` waits for `{}` of the later stage `{later}`", draft.name, need.name),
    )
    .label(format!("in stage `{later}`"));
    let stage = draft.yaml.get("stage").map(|yaml| yaml.span);
    let problem = match stage {
        Some(span) => problem.also(span, "this node's stage"),
        None => problem,
    };
    problem.help(format!("move `{}` to stage `{later}` or a later one, or remove its `stage`", draft.name))
}
