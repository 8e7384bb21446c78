// A process for tests of the launcher, in the place of dasm-runner.
//   --describe        prints a numerics class
//   talk              a line on each stream, then exit code 7
//   wait              "up", then until a signal
//   start DIR         launches itself as `wait` in DIR as an agent would, then
//                     waits
#include <unistd.h>

#include <cstdio>
#include <cstring>
#include <string>

#include "worker/agent/runner_process.h"

int main(int argc, char** argv) {
  const std::string mode = argc > 1 ? argv[1] : "";
  if (mode == "--describe") {
    std::puts(R"({"numerics_class":"cpu-test/fp32","version":"1.2.3"})");
    return 0;
  }
  if (mode == "talk") {
    std::fputs("to stdout\nbad \xff \xc3( good \xc3\xa9\nno newline", stdout);
    std::fputs("to stderr\n", stderr);
    return 7;
  }
  dasm::ForkingLauncher launcher;
  std::unique_ptr<dasm::RunnerProcess> child;
  if (mode == "start") {
    dasm::RunnerCommand command;
    command.argv = {argv[0], "wait"};
    command.directory = argv[2];
    auto started = launcher.Launch(
        command, {[](bool, std::string) { std::puts("child up"); },
                  [](dasm::RunnerExit) {}});
    if (!started.ok()) return 1;
    child = *std::move(started);
  } else {
    std::puts("up");
  }
  std::fflush(stdout);
  // A line that the child prints comes from another thread.
  setvbuf(stdout, nullptr, _IOLBF, 0);
  while (true) pause();
}
