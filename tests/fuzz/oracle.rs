//! What must hold for every text: no panic, a workflow or an error, labels inside the text, nothing that steers a
//! terminal, the same problems twice, bounded time and memory; and a workflow can be planned and explained.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::RefCell;
use std::panic::{self, AssertUnwindSafe};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use indexmap::IndexMap;
use spb::plan::{Plan, Selection, cycle, explain};
use spb::workflow::model::Workflow;
use spb::workflow::problem::Severity;
use spb::workflow::{Loaded, input, load_with, show};

/// Longest that one text may take, of processor time: two loads, one rendering, one plan.
const LONGEST: Duration = Duration::from_secs(2);

/// Most that one text may have allocated at the same time, bytes.
const MOST_MEMORY: usize = 256 << 20;

static NOW: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);
static MOST: AtomicUsize = AtomicUsize::new(0);
/// Executions, for the watch.
static TICKS: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    static PANIC: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// The system's allocator, and how much it gave.
pub struct Counting;

// SAFETY: everything is handed to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let now = NOW.fetch_add(layout.size(), Ordering::Relaxed) + layout.size();
        PEAK.fetch_max(now, Ordering::Relaxed);
        // SAFETY: as the caller promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        NOW.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(pointer, layout) }
    }
}

/// Most that any text had allocated, bytes.
pub fn most_memory() -> usize {
    MOST.load(Ordering::Relaxed)
}

/// Runs with panics noted instead of printed.
pub fn quietly(work: impl FnOnce()) {
    let before = panic::take_hook();
    panic::set_hook(Box::new(|info| {
        let text = info.to_string();
        PANIC.with(|place| *place.borrow_mut() = Some(text));
    }));
    work();
    panic::set_hook(before);
}

/// Ends the process when one text takes for ever; the text is in the file `current`.
pub fn watch(keep: PathBuf) -> impl Drop {
    struct Watch(Arc<AtomicBool>);
    impl Drop for Watch {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }
    let over = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&over);
    std::thread::spawn(move || {
        let (mut last, mut since) = (0, Instant::now());
        while !seen.load(Ordering::Relaxed) {
            std::thread::sleep(Duration::from_secs(1));
            let ticks = TICKS.load(Ordering::Relaxed);
            if ticks != last {
                (last, since) = (ticks, Instant::now());
            }
            if since.elapsed() > Duration::from_secs(120) {
                eprintln!("hang: the text is in {}", keep.join("current").display());
                std::process::abort();
            }
        }
    });
    Watch(over)
}

/// What findings have in common: the text without what differs from file to file.
pub fn kind(what: &str) -> String {
    what.lines().next().unwrap_or_default().chars().filter(|c| !c.is_ascii_digit()).collect()
}

/// Checks one text.
///
/// # Errors
/// What does not hold, its kind in the first line.
pub fn examine(text: &str) -> Result<(), String> {
    TICKS.fetch_add(1, Ordering::Relaxed);
    let (started, allocated) = (processor_time(), NOW.load(Ordering::Relaxed));
    PEAK.store(allocated, Ordering::Relaxed);
    let result = panic::catch_unwind(AssertUnwindSafe(|| promises(text)));
    let taken = processor_time().saturating_sub(started);
    let memory = PEAK.load(Ordering::Relaxed).saturating_sub(allocated);
    MOST.fetch_max(memory, Ordering::Relaxed);
    match result {
        Ok(result) => result?,
        Err(_) => {
            let text = PANIC.with(|place| place.borrow_mut().take()).unwrap_or_default();
            return Err(format!("panic: {}", text.trim().replace('\n', " ")));
        }
    }
    if taken > LONGEST {
        return Err(format!("slow\nit took {taken:?}"));
    }
    if memory > MOST_MEMORY {
        return Err(format!("memory\nit took {} MiB", memory >> 20));
    }
    Ok(())
}

/// Of this thread: other programs on the machine do not count.
fn processor_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or(0))
}

fn promises(text: &str) -> Result<(), String> {
    let load = || load_with(Path::new("fuzz.yaml"), text.into(), cycle::problems);
    let loaded = load();
    consistent(&loaded)?;
    let again = load();
    if again.problems.list != loaded.problems.list {
        return Err(format!("two loads differ\n{:?}\n{:?}", loaded.problems.list, again.problems.list));
    }
    shown(&loaded)?;
    match loaded.workflow {
        Some(workflow) => planned(workflow),
        None => Ok(()),
    }
}

fn consistent(loaded: &Loaded) -> Result<(), String> {
    let errors = loaded.problems.list.iter().any(|problem| problem.severity == Severity::Error);
    if loaded.workflow.is_none() != errors {
        return Err(format!("a workflow and errors, or neither\n{:?}", loaded.problems.list));
    }
    let text = &loaded.problems.source.text;
    for problem in &loaded.problems.list {
        if problem.message.is_empty() || !problem.code.starts_with("spb::") {
            return Err(format!("a problem without words or code\n{problem:?}"));
        }
        for (span, _) in &problem.labels {
            if text.get(span.start..span.end).is_none() {
                return Err(format!("{} points outside of the text\n{problem:?}", problem.code));
            }
        }
    }
    Ok(())
}

fn shown(loaded: &Loaded) -> Result<(), String> {
    let drawn = show::render(&loaded.problems, false, 100);
    let count = loaded.problems.list.len();
    if drawn.is_empty() != (count == 0) {
        return Err("problems that are not drawn".to_owned());
    }
    let steers = |c: char| c.is_control() && c != '\n' || matches!(c, '\u{202a}'..='\u{202e}');
    if let Some(c) = drawn.chars().find(|c| steers(*c)) {
        return Err(format!("{c:?} reaches the terminal\n{drawn}"));
    }
    if drawn.len() > 8000 * (count + 1) {
        return Err(format!("{} bytes drawn for {count} problems", drawn.len()));
    }
    match show::to_json(&loaded.problems).as_array().map(Vec::len) {
        Some(length) if length == count => Ok(()),
        length => Err(format!("{length:?} problems of {count} as JSON")),
    }
}

/// What can be run without further inputs can be expanded and explained, or says why not.
fn planned(workflow: Workflow) -> Result<(), String> {
    let Ok(inputs) = input::resolve(&workflow, &IndexMap::new()) else { return Ok(()) };
    let Ok(plan) = Plan::new(Arc::new(workflow), inputs, &Selection::default()) else { return Ok(()) };
    if plan.order.len() != plan.instances.len() {
        return Err("an instance without a place in the order".to_owned());
    }
    for instance in (0..plan.instances.len()).take(20) {
        let value = serde_json::Value::Object(explain::resolved(&plan, instance));
        let text = show::as_yaml(&value);
        let back: Result<serde_json::Value, _> = serde_yaml::from_str(&text);
        match back {
            Ok(back) if back == value => {}
            Ok(back) => return Err(format!("explained, and read back as something else\n{value}\n{back}")),
            Err(error) => return Err(format!("explained as what is no YAML\n{error}\n{text}")),
        }
    }
    Ok(())
}
