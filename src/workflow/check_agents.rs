//! Agents: that they have a command, and that whoever asks one names one that there is. Knows nothing of running them.

use indexmap::IndexMap;

use super::check::Check;
use super::check_node::At;
use super::check_scope::World;
use super::expr::Template;
use super::expr::types::Names;
use super::file_agent::{Agent, AgentChoice, ConflictChoice};
use super::file_node::{Effect, OnConflict as Word};
use super::file_values::Text;
use super::keys;
use super::model::{OnConflict, Settler};
use super::problem::{Problem, Span};
use super::read;
use super::schema::Step;
use super::suggest;
use super::yaml::{Entry, Kind, Yaml, quoted, shorten};

/// The agents of a file by name: their commands.
pub(super) type Agents = IndexMap<String, Vec<Template>>;

impl Check<'_> {
    /// The top-level `agents` of a file. One that cannot be read exists all the same.
    pub(super) fn agents(&mut self, root: &Yaml<'_>, world: &World<'_>) {
        let Some(yaml) = root.get("agents").filter(|yaml| !yaml.is_null()) else { return };
        if !matches!(yaml.kind, Kind::Map(_)) {
            let place = [Step::Key("agents")];
            read::piece::<IndexMap<String, Agent>>(yaml, &place, yaml.span, None, &mut self.problems);
        }
        let names = world.agent("the command of an agent");
        for entry in yaml.entries() {
            self.name("an agent", &entry.key, entry.key_span);
            let command = self.agent(entry, &names).unwrap_or_default();
            // A file may say anew what an agent of those that it includes is.
            self.agents.entry(entry.key.to_string()).or_insert(command);
        }
    }

    fn agent(&mut self, entry: &Entry<'_>, names: &Names<'_>) -> Option<Vec<Template>> {
        const EXAMPLE: &str = "command: [claude, -p, \"${{ prompt }}\"]";
        if entry.value.is_null() {
            let help = format!("say what it does: `{}: {{ {EXAMPLE} }}`", entry.key);
            self.problems.push(read::no_value(entry).help(help));
            return None;
        }
        let place = [Step::Key("agents"), Step::Key(&entry.key)];
        let (key, problems) = (entry.key_span, &mut self.problems);
        let piece = read::piece::<Agent>(&entry.value, &place, key, Some(&keys::AGENT), problems)?;
        let (agent, yaml) = (piece.value, piece.yaml.get("command"));
        if agent.command.first().is_none_or(|first| first.0.is_empty()) {
            self.problems.push(
                Problem::error(
                    "spb::run::empty",
                    yaml.map_or(entry.key_span, |yaml| yaml.span),
                    format!("the command of the agent {} names no program", quoted(&entry.key)),
                )
                .label("nothing to execute")
                .help(format!("for example `{EXAMPLE}`")),
            );
        }
        let words = agent.command.iter().zip(yaml.map_or(&[][..], Yaml::items));
        let words = words.map(|(Text(word), item)| {
            self.expressions.template(word, item.span, || names, &mut self.problems)
        });
        Some(words.collect())
    }

    pub(super) fn on_conflict(&mut self, at: &At<'_>) -> OnConflict {
        let file = &at.draft.file;
        let Some(choice) = &file.on_conflict else { return OnConflict::Fail };
        // One need is enough: one that changed nothing hands on the results of several.
        if file.needs.as_ref().is_none_or(Vec::is_empty) {
            self.problems.push(
                Problem::error(
                    "spb::on_conflict::unused",
                    at.span("on_conflict"),
                    "without `needs` there is nothing to merge",
                )
                .label("has no effect")
                .help("remove `on_conflict`, or name what it needs"),
            );
        }
        match choice {
            ConflictChoice::Word(Word::Fail) => OnConflict::Fail,
            ConflictChoice::Word(Word::Ours) => OnConflict::Ours,
            ConflictChoice::Word(Word::Theirs) => OnConflict::Theirs,
            ConflictChoice::Word(Word::Union) => OnConflict::Union,
            ConflictChoice::Agent(by) => self.settler(at, &by.agent),
        }
    }

    fn settler(&mut self, at: &At<'_>, agent: &AgentChoice) -> OnConflict {
        let yaml = at.yaml("on_conflict").and_then(|yaml| yaml.get("agent"));
        let inner = |key: &str| yaml.and_then(|yaml| yaml.get(key)).or(yaml).map(|yaml| yaml.span);
        let span = |key: &str| inner(key).unwrap_or_else(|| at.span("on_conflict"));
        let (Text(name), prompt) = match agent {
            AgentChoice::Name(name) => (name, None),
            AgentChoice::Settings(settings) => (&settings.name, settings.prompt.as_ref()),
        };
        if at.draft.file.effect == Some(Effect::External) {
            self.problems.push(
                Problem::error(
                    "spb::effect::conflict",
                    at.span("on_conflict"),
                    "no agent settles conflicts for a node with an external effect",
                )
                .label("an agent is asked here")
                .also(at.span("effect"), "happens at most once")
                .help("let a node of its own need what conflicts, and this one need that node"),
            );
        }
        let prompt = prompt.map(|Text(text)| {
            self.expressions.template(text, span("prompt"), || at.names(), &mut self.problems)
        });
        match self.agents.get(name) {
            Some(command) => {
                let (name, command) = (name.clone(), command.clone());
                OnConflict::Agent(Settler { name, command, prompt })
            }
            None => {
                let problem = self.unknown_agent(name, span("use"));
                self.problems.push(problem);
                OnConflict::Fail
            }
        }
    }

    fn unknown_agent(&self, name: &str, span: Span) -> Problem {
        let problem =
            Problem::error("spb::agent::unknown", span, format!("there is no agent {}", quoted(name)))
                .label("unknown agent");
        match suggest::nearest(name, self.agents.keys().map(String::as_str)) {
            Some(near) => problem.help(format!("did you mean `{near}`?")),
            None => problem.help(format!(
                "declare it at the top of the file: `agents: {{ {}: {{ command: [program, \"${{{{ prompt }}}}\"] }} }}`",
                shorten(name)
            )),
        }
    }
}
