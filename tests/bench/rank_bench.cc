// What a second rank is worth: the inner step of IDC (Fashion-MNIST, width 128,
// 10 images a class: the 10-class pass and 8 network steps, timed as one) with
// one rank, with two as threads and with two as processes (a gRPC gang over
// loopback TCP), in both exchange modes.
//
//   rank_bench [--steps N] [--rounds R] [--width W] [--data DIR]
//
// First what two busy cores give at all: a one-rank step alone, and two of them
// at once that know nothing of each other. Their `ratio` (2 in theory) is what
// the speed-ups are measured by as well: `of_independent`.
//
// Each figure is of fresh processes that are started as runners are: the median
// over N steps of rank 0, and of that over R rounds, in which every arrangement
// has its turn, so that a change of the machine's load meets all. Processor
// seconds are of all ranks together: what is missing to twice the seconds was
// waited. Prints one JSON object. Meant for an idle machine of two cores.
#include <fstream>
#include <iostream>
#include <map>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/strings/str_cat.h"
#include "nlohmann/json.hpp"
#include "tests/bench/bench_process.h"
#include "tests/bench/idc_bench.h"
#include "tests/support/process.h"
#include "worker/collective/process_gang.h"
#include "worker/collective/thread_collective.h"

namespace dasm {
namespace {

using bench::Median;
using bench::Require;
using Json = nlohmann::ordered_json;

struct Settings {
  int steps = 5;
  int rounds = 3;
  int width = 128;
  std::string data = "/usr/share/datasets";
  // Of a process that computes; set by the one that measures.
  std::string folder;
  std::string exchange = "every_step";
  int threads = 1;
  int process = 0;
  int processes = 1;
  std::string gang;  // names the files that say where the processes listen
};

// Where another process of the gang listens.
std::string EndpointOf(const std::string& file) {
  std::string endpoint;
  const bool there = testing_support::Eventually([&] {
    std::ifstream in(file);
    return static_cast<bool>(std::getline(in, endpoint));
  });
  if (!there)
    Require(absl::UnavailableError(absl::StrCat(file, ": not there")));
  return endpoint;
}

std::vector<std::unique_ptr<Collective>> Join(const Settings& settings,
                                              ProcessGang* network) {
  const auto file = [&](int process) {
    return absl::StrCat(settings.folder, "/", settings.gang, ".", process);
  };
  const std::string own = file(settings.process);
  std::ofstream(own + ".new") << network->endpoint() << "\n";
  std::rename((own + ".new").c_str(), own.c_str());
  std::vector<ProcessGang::Member> members;
  for (int p = 0; p < settings.processes; ++p) {
    members.push_back({EndpointOf(file(p)), settings.threads});
  }
  auto joined =
      network->Join(settings.process, members, std::string(32, 's'), {});
  Require(joined.status());
  return *std::move(joined);
}

// One process of a measurement: prints the median seconds of a step, of the
// wall and of the processor.
int Compute(const Settings& settings) {
  InitEngine();
  std::unique_ptr<ProcessGang> network;
  std::vector<std::unique_ptr<Collective>> ranks;
  if (settings.processes > 1) {
    auto listening = ProcessGang::Listen("127.0.0.1:0");
    Require(listening.status());
    network = *std::move(listening);
    ranks = Join(settings, network.get());
  } else {
    auto gang = ThreadGang::Create(settings.threads, absl::ZeroDuration());
    Require(gang.status());
    ranks = *std::move(gang);
  }
  testing_support::TemporaryFolder out;
  TaskFiles files;
  files.inputs["dataset"] = settings.folder + "/dataset";
  files.output_dir = out.path();
  RunOptions options;
  if (settings.exchange == "deferred") options.exchange = Exchange::kDeferred;
  DistillSegmentParameters idc = bench::Idc(settings.steps + 2, 8);
  idc.network.width = settings.width;
  bench::Stopwatch stopwatch;
  bench::RunRanks(idc, files, ranks, options, &stopwatch);
  std::cout << Median(bench::InnerSteps(stopwatch.Intervals())) << " "
            << Median(bench::InnerSteps(stopwatch.CpuIntervals())) << std::endl;
  return 0;
}

// Of a step.
struct Cost {
  double seconds = 0;      // mean over the processes
  double cpu_seconds = 0;  // sum over them
};

// Runs processes at once.
Cost Measure(const Settings& settings,
             const std::vector<std::vector<std::string>>& arguments) {
  std::vector<std::string> printed(arguments.size());
  std::vector<std::thread> processes;
  for (size_t p = 0; p < arguments.size(); ++p) {
    processes.emplace_back([&, p] {
      std::vector<std::string> argv = {"/proc/self/exe",
                                       "--folder",
                                       settings.folder,
                                       "--steps",
                                       absl::StrCat(settings.steps),
                                       "--width",
                                       absl::StrCat(settings.width)};
      argv.insert(argv.end(), arguments[p].begin(), arguments[p].end());
      const auto finished =
          testing_support::RunToEnd(argv, {}, absl::Minutes(20));
      if (finished.exit_code != 0) {
        Require(absl::InternalError(finished.err));
      }
      printed[p] = finished.out;
    });
  }
  for (std::thread& process : processes) process.join();
  Cost cost;
  for (const std::string& one : printed) {
    double seconds = 0;
    double cpu_seconds = 0;
    std::istringstream(one) >> seconds >> cpu_seconds;
    cost.seconds += seconds / static_cast<double>(printed.size());
    cost.cpu_seconds += cpu_seconds;
  }
  return cost;
}

// The medians over rounds.
class Costs {
 public:
  void Add(const Cost& cost) {
    seconds_.push_back(cost.seconds);
    cpu_seconds_.push_back(cost.cpu_seconds);
  }
  double seconds() const { return Median(seconds_); }
  double cpu_seconds() const { return Median(cpu_seconds_); }

 private:
  std::vector<double> seconds_;
  std::vector<double> cpu_seconds_;
};

int MeasureAll(Settings settings) {
  const testing_support::TemporaryFolder folder;
  settings.folder = folder.path();
  bench::PrepareFashionMnist(settings.data, folder / "dataset");
  Costs one;
  Costs independent;
  std::map<std::string, std::map<std::string, Costs>> two;
  for (int round = 0; round < settings.rounds; ++round) {
    one.Add(Measure(settings, {{}}));
    independent.Add(Measure(settings, {{}, {}}));
    for (const char* exchange : {"every_step", "deferred"}) {
      two["threads"][exchange].Add(
          Measure(settings, {{"--threads", "2", "--exchange", exchange}}));
      std::vector<std::vector<std::string>> gang;
      for (const char* process : {"0", "1"}) {
        gang.push_back({"--process", process, "--processes", "2", "--gang",
                        absl::StrCat(exchange, round), "--exchange", exchange});
      }
      two["processes"][exchange].Add(Measure(settings, gang));
    }
  }
  const double ratio = 2 * one.seconds() / independent.seconds();
  Json result = {
      {"bench", "rank"},
      {"steps", settings.steps},
      {"rounds", settings.rounds},
      {"width", settings.width},
      {"numerics_class", NumericsClass()},
      {"one_rank",
       {{"seconds", one.seconds()}, {"cpu_seconds", one.cpu_seconds()}}},
      {"independent",
       {{"seconds", independent.seconds()},
        {"cpu_seconds", independent.cpu_seconds()},
        {"ratio", ratio}}}};
  for (const auto& [ranks, exchanges] : two) {
    for (const auto& [exchange, costs] : exchanges) {
      const double speedup = one.seconds() / costs.seconds();
      result[ranks][exchange] = {{"seconds", costs.seconds()},
                                 {"cpu_seconds", costs.cpu_seconds()},
                                 {"speedup", speedup},
                                 {"of_independent", speedup / ratio}};
    }
  }
  std::cout << result.dump(2) << "\n";
  return 0;
}

int Main(int argc, char** argv) {
  Settings settings;
  CLI::App app("Times the inner step with one and two ranks");
  app.add_option("--steps", settings.steps, "Timed steps")
      ->check(CLI::Range(1, 999));
  app.add_option("--rounds", settings.rounds)->check(CLI::Range(1, 99));
  app.add_option("--width", settings.width)->check(CLI::Range(1, 1024));
  app.add_option("--data", settings.data, "Folder with fashion-mnist");
  app.add_option("--folder", settings.folder)->group("");
  app.add_option("--exchange", settings.exchange)->group("");
  app.add_option("--threads", settings.threads)->group("");
  app.add_option("--process", settings.process)->group("");
  app.add_option("--processes", settings.processes)->group("");
  app.add_option("--gang", settings.gang)->group("");
  CLI11_PARSE(app, argc, argv);
  return settings.folder.empty() ? MeasureAll(settings) : Compute(settings);
}

}  // namespace
}  // namespace dasm

int main(int argc, char** argv) {
  dasm::bench::RunLikeARunner(argv);
  return dasm::Main(argc, argv);
}
