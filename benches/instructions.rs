//! Runs one scenario so many times, for an instrument that counts: `instructions '<scenario>' <times>`; without arguments
//! it lists the scenarios. `benches/instructions.sh` runs them all under valgrind.
#![allow(clippy::print_stdout, reason = "a bench reports")]

mod scenarios;

fn main() {
    // `cargo bench` adds an argument of its own.
    let mut arguments = std::env::args().skip(1).filter(|argument| argument != "--bench");
    let (Some(name), Some(times)) = (arguments.next(), arguments.next().and_then(|times| times.parse().ok())) else {
        scenarios::all().iter().for_each(|(name, _)| println!("{name}"));
        return;
    };
    let mut scenarios = scenarios::all();
    if let Some((_, call)) = scenarios.iter_mut().find(|(scenario, _)| *scenario == name) {
        (0..times).for_each(|_: u32| call());
    }
}
