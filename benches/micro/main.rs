//! What each step of a booking costs by itself: `cargo bench --profile dist --bench micro`. Nothing here waits for anything.
//!
//! With `--count <case> <rounds>` it only runs that case so often, for `.ci/instructions` to count; `--cases` names them.

#![expect(clippy::print_stdout, reason = "names are asked for by a script")]

mod calendar;
mod commit;
mod directory;
mod door;

use criterion::Criterion;

/// One call of what is measured.
type Work = Box<dyn FnMut()>;

/// What is measured, by its name.
struct Case {
    name: &'static str,
    prepare: fn() -> Work,
}

/// In the order in which a booking passes them.
const CASES: [Case; 14] = [
    Case { name: "token/check", prepare: door::token },
    Case { name: "parse/booking", prepare: door::booking },
    Case { name: "parse/date", prepare: door::date },
    Case { name: "parse/slot", prepare: door::slot },
    Case { name: "parse/user", prepare: door::user },
    Case { name: "parse/key", prepare: door::key },
    Case { name: "directory/available", prepare: directory::available },
    Case { name: "decide/record", prepare: calendar::record },
    Case { name: "decide/slot_full", prepare: calendar::slot_full },
    Case { name: "decide/repeat", prepare: calendar::repeat },
    Case { name: "apply/booked_cancelled", prepare: calendar::apply },
    Case { name: "load/date", prepare: calendar::load },
    Case { name: "commit/pack", prepare: commit::pack },
    Case { name: "commit/plan", prepare: commit::plan },
];

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["--cases"] => CASES.iter().for_each(|case| println!("{}", case.name)),
        ["--count", name, rounds] => {
            let case = CASES.iter().find(|case| case.name == name).expect("a case that is named");
            count((case.prepare)(), rounds.parse().expect("a number of rounds"));
        }
        _ => {
            let mut criterion = Criterion::default().configure_from_args();
            for case in CASES {
                criterion.bench_function(case.name, |bencher| {
                    let mut work = (case.prepare)();
                    bencher.iter(&mut work);
                });
            }
            criterion.final_summary();
        }
    }
}

/// What is done once for all is done when the counting begins.
fn count(mut work: Work, rounds: usize) {
    work();
    counted(&mut work, rounds);
}

/// Callgrind counts from here until it returns.
#[inline(never)]
fn counted(work: &mut Work, rounds: usize) {
    (0..rounds).for_each(|_| work());
}
