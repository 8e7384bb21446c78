// What a second rank is worth: the inner step of IDC (Fashion-MNIST, width 128,
// 10 images a class: the 10-class pass and 8 network steps, timed as one) with
// one rank, with two as threads and with two as processes (a gRPC gang over
// loopback TCP), in both exchange modes.
//
//   rank_bench [--rounds R] [--width W] [--data DIR]
//
// First what two busy cores give at all: two one-rank steps at once that know
// nothing of each other. Their `ratio` to a step alone (2 in theory) is what
// the speed-ups are measured by as well: `of_independent`.
//
// Processes of all arrangements are started as runners are and stay; in each of
// R rounds every arrangement does one step while the others wait, so that a
// change of the machine's speed meets all. Ratios are taken within a round;
// medians over the rounds are given. Seconds in the collective, waiting for the
// peer and exchanging, are rank 0's. Prints one JSON object. Meant for an idle
// machine of two cores; takes 5 GB.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fstream>
#include <iostream>
#include <memory>
#include <sstream>
#include <string>
#include <utility>
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
using testing_support::Process;
using Json = nlohmann::ordered_json;

struct Settings {
  int rounds = 10;
  int width = 128;
  std::string data = "/usr/share/datasets";
  // Of a process that computes; set by the one that measures, which ends it
  // before its last step, since that trains nothing.
  std::string folder;
  int steps = 0;
  std::string exchange = "every_step";
  int threads = 1;
  int process = 0;
  int processes = 1;
  // Names the files that say where the processes of a gang listen, and the one
  // that its rank 0 is told to go on by.
  std::string gang;
};

// Opened by both sides at once, whoever comes first.
int OpenGate(const std::string& path) {
  const int gate = open(path.c_str(), O_RDWR | O_CLOEXEC);
  if (gate < 0) Require(absl::ErrnoToStatus(errno, path));
  return gate;
}

// What a rank spends in the sums and gathers of its collective: waiting for its
// peers and exchanging. Broadcasts, which wait between steps here, are not
// counted.
class TimedCollective final : public Collective {
 public:
  explicit TimedCollective(std::unique_ptr<Collective> inner)
      : inner_(std::move(inner)) {}

  int rank() const override { return inner_->rank(); }
  int size() const override { return inner_->size(); }
  Memory memory() const override { return inner_->memory(); }
  absl::Status DoSumShards(absl::Span<const float> rows, int64_t shards,
                           absl::Span<float> sum, int first) override {
    return Timed([&] { return inner_->SumShards(rows, shards, sum, first); });
  }
  absl::Status DoGatherShards(absl::Span<float> rows, int64_t shards,
                              int first) override {
    return Timed([&] { return inner_->GatherShards(rows, shards, first); });
  }
  absl::Status Broadcast(absl::Span<char> bytes) override {
    return inner_->Broadcast(bytes);
  }
  absl::Status Barrier() override { return inner_->Barrier(); }
  void Abort(absl::Status why) override { inner_->Abort(std::move(why)); }

  double seconds() const { return seconds_; }

 private:
  template <typename Call>
  absl::Status Timed(Call call) {
    const double begin = bench::Now();
    absl::Status status = call();
    seconds_ += bench::Now() - begin;
    return status;
  }

  const std::unique_ptr<Collective> inner_;
  double seconds_ = 0;
};

// Of rank 0: takes a step when it is told to, and prints its seconds and those
// of them in the collective.
class Pacer final : public TaskObserver {
 public:
  Pacer(int gate, const TimedCollective* collective)
      : gate_(gate), collective_(*collective) {}

  Wish Poll() override {
    char told = 0;
    if (read(gate_, &told, 1) != 1) Require(absl::UnavailableError("no gate"));
    begin_ = bench::Now();
    before_ = collective_.seconds();
    return Wish::kNone;
  }
  void Progress(int64_t, int64_t, double, std::string_view) override {
    std::cout << bench::Now() - begin_ << " " << collective_.seconds() - before_
              << std::endl;
  }
  void Point(std::string_view, int64_t, double) override {}
  void Line(std::string_view, std::string_view) override {}
  absl::Status WriteCheckpoint(
      int64_t, const std::map<std::string, TensorView>&) override {
    return absl::OkStatus();
  }

 private:
  const int gate_;
  const TimedCollective& collective_;
  double begin_ = 0;
  double before_ = 0;
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
  ProcessGang::Options options;
  // A rank waits for its turn inside a call.
  options.minimum_deadline = absl::Minutes(20);
  auto joined =
      network->Join(settings.process, members, std::string(32, 's'), options);
  Require(joined.status());
  return *std::move(joined);
}

// One process of an arrangement.
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
  auto timed = std::make_unique<TimedCollective>(std::move(ranks[0]));
  Pacer pacer(OpenGate(absl::StrCat(settings.folder, "/", settings.gang)),
              timed.get());
  ranks[0] = std::move(timed);
  testing_support::TemporaryFolder out;
  TaskFiles files;
  files.inputs["dataset"] = settings.folder + "/dataset";
  files.output_dir = out.path();
  RunOptions options;
  if (settings.exchange == "deferred") options.exchange = Exchange::kDeferred;
  DistillSegmentParameters idc = bench::Idc(settings.steps, 8);
  idc.network.width = settings.width;
  bench::Stopwatch silent;
  TaskObserver* observer = &silent;
  if (settings.process == 0) observer = &pacer;
  bench::RunRanks(idc, files, ranks, options, observer);
  return 0;
}

// Of a step.
struct Cost {
  double seconds = 0;
  double in_collective = 0;
};

// One way to compute a step: a one-rank process, or a gang of two ranks.
class Arrangement {
 public:
  Arrangement(const Settings& settings, const std::string& gang, int processes,
              int threads, const std::string& exchange) {
    const std::string gate = absl::StrCat(settings.folder, "/", gang);
    if (mkfifo(gate.c_str(), 0600) != 0) {
      Require(absl::ErrnoToStatus(errno, gate));
    }
    gate_ = OpenGate(gate);
    for (int process = 0; process < processes; ++process) {
      const std::vector<std::string> argv = {
          "/proc/self/exe",
          "--folder",
          settings.folder,
          "--steps",
          absl::StrCat(2 * settings.rounds + 2),
          "--width",
          absl::StrCat(settings.width),
          "--gang",
          gang,
          "--process",
          absl::StrCat(process),
          "--processes",
          absl::StrCat(processes),
          "--threads",
          absl::StrCat(threads),
          "--exchange",
          exchange};
      processes_.push_back(std::make_unique<Process>(
          argv, absl::StrCat(gate, ".log.", process)));
    }
  }
  ~Arrangement() { close(gate_); }
  Arrangement(const Arrangement&) = delete;
  Arrangement& operator=(const Arrangement&) = delete;

  void Begin() {
    if (write(gate_, "g", 1) != 1) Require(absl::ErrnoToStatus(errno, "gate"));
  }
  Cost End() {
    Cost cost;
    std::istringstream line(processes_[0]->ReadLine(absl::Minutes(20)));
    if (!(line >> cost.seconds >> cost.in_collective)) {
      for (const auto& process : processes_) std::cerr << process->Log();
      Require(absl::InternalError("a rank ended before its last step"));
    }
    return cost;
  }
  Cost Step() {
    Begin();
    return End();
  }

 private:
  int gate_ = -1;
  std::vector<std::unique_ptr<Process>> processes_;
};

struct Figures {
  std::string ranks;
  std::string exchange;
  std::unique_ptr<Arrangement> arrangement;
  std::vector<double> seconds;
  std::vector<double> in_collective;
  std::vector<double> speedups;
  std::vector<double> of_independent;
};

int MeasureAll(Settings settings) {
  const testing_support::TemporaryFolder folder;
  settings.folder = folder.path();
  bench::PrepareFashionMnist(settings.data, folder / "dataset");
  Arrangement one(settings, "one", 1, 1, "every_step");
  Arrangement other(settings, "other", 1, 1, "every_step");
  std::vector<Figures> gangs;
  for (const char* exchange : {"every_step", "deferred"}) {
    gangs.push_back(
        {"threads", exchange,
         std::make_unique<Arrangement>(
             settings, absl::StrCat("threads.", exchange), 1, 2, exchange)});
    gangs.push_back(
        {"processes", exchange,
         std::make_unique<Arrangement>(
             settings, absl::StrCat("processes.", exchange), 2, 1, exchange)});
  }
  one.Step();
  other.Step();
  for (Figures& gang : gangs) gang.arrangement->Step();

  std::vector<double> alone;
  std::vector<double> together;
  std::vector<double> ratios;
  for (int round = 0; round < settings.rounds; ++round) {
    alone.push_back(one.Step().seconds);
    for (Figures& gang : gangs) {
      const Cost cost = gang.arrangement->Step();
      gang.seconds.push_back(cost.seconds);
      gang.in_collective.push_back(cost.in_collective);
    }
    one.Begin();
    other.Begin();
    together.push_back((one.End().seconds + other.End().seconds) / 2);
    ratios.push_back(2 * alone.back() / together.back());
    for (Figures& gang : gangs) {
      gang.speedups.push_back(alone.back() / gang.seconds.back());
      gang.of_independent.push_back(gang.speedups.back() / ratios.back());
    }
  }
  Json result = {{"bench", "rank"},
                 {"rounds", settings.rounds},
                 {"width", settings.width},
                 {"numerics_class", NumericsClass()},
                 {"one_rank", {{"seconds", Median(alone)}}},
                 {"independent",
                  {{"seconds", Median(together)},
                   {"ratio", Median(ratios)},
                   {"ratios", ratios}}}};
  for (const Figures& gang : gangs) {
    result[gang.ranks][gang.exchange] = {
        {"seconds", Median(gang.seconds)},
        {"in_collective", Median(gang.in_collective)},
        {"speedup", Median(gang.speedups)},
        {"speedups", gang.speedups},
        {"of_independent", Median(gang.of_independent)}};
  }
  std::cout << result.dump(2) << "\n";
  return 0;
}

int Main(int argc, char** argv) {
  Settings settings;
  CLI::App app("Times the inner step with one and two ranks");
  app.add_option("--rounds", settings.rounds)->check(CLI::Range(1, 99));
  app.add_option("--width", settings.width)->check(CLI::Range(1, 1024));
  app.add_option("--data", settings.data, "Folder with fashion-mnist");
  app.add_option("--folder", settings.folder)->group("");
  app.add_option("--steps", settings.steps)->group("");
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
