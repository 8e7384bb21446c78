#include "tests/support/cluster.h"

#include <signal.h>

#include <filesystem>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "gtest/gtest.h"
#include "tests/support/network_namespaces.h"
#include "tests/support/service.h"

namespace dasm::testing_support {
namespace {

std::vector<std::string> At(const Place& place, std::vector<std::string> argv) {
  std::vector<std::string> all;
  if (!place.netns.empty()) all = EnterNamespace(place.netns);
  if (place.memory_bytes > 0) {
    all.insert(all.end(), {DASM_PRLIMIT_COMMAND,
                           absl::StrCat("--data=", place.memory_bytes)});
  }
  all.insert(all.end(), argv.begin(), argv.end());
  return all;
}

}  // namespace

Cluster::Cluster(Options options)
    : options_(std::move(options)),
      address_(options_.coordinator.netns.empty()
                   ? absl::StrCat("unix:", Path("c.sock"))
                   : absl::StrCat(options_.coordinator.host, ":7070")) {}

std::string Cluster::Path(const std::string& name) const {
  return absl::StrCat(options_.folder, "/", name);
}

std::string Cluster::StartCoordinator() {
  coordinator_ = std::make_unique<Process>(
      At(options_.coordinator,
         {Binary("dasm-coordinator"), "--state", Path("coordinator"),
          "--listen", address_, "--http", "127.0.0.1:0", "--data",
          options_.data, "--lease", absl::StrCat(options_.lease),
          "--insecure"}),
      Path("coordinator.log"));
  return coordinator_->ReadLine();
}

std::string Cluster::StartWorker(const std::string& name, int slots,
                                 const Place& place) {
  auto& worker = workers_[name];
  worker = std::make_unique<Process>(
      At(place,
         {Binary("dasm-worker"), "--coordinator", address_, "--state",
          Path(name), "--slots", absl::StrCat(slots), "--threads", "1",
          "--data", options_.data, "--gang-address", place.host, "--insecure",
          "--collective-deadline", absl::StrCat(options_.collective_deadline)}),
      Path(absl::StrCat(name, ".log")));
  return worker->ReadLine();
}

void Cluster::KillWorker(const std::string& name) {
  worker(name)->Signal(SIGKILL);
  worker(name)->Wait();
}

std::vector<int> Cluster::Runners() {
  std::vector<int> all;
  for (const auto& [name, worker] : workers_) {
    const std::vector<int> some = Runners(name);
    all.insert(all.end(), some.begin(), some.end());
  }
  return all;
}

std::vector<int> Cluster::Runners(const std::string& name) {
  Process* const process = worker(name);
  return process->running() ? ChildrenOf(process->pid(), "dasm-runner")
                            : std::vector<int>();
}

bool Cluster::HasCheckpoint() const {
  // Folders come and go meanwhile, so every step of the walk may fail.
  std::error_code error;
  for (const auto& [name, worker] : workers_) {
    for (const auto& task :
         std::filesystem::directory_iterator(Path(name) + "/tasks", error)) {
      for (const auto& file :
           std::filesystem::directory_iterator(task.path() / "ckpt", error)) {
        if (absl::StartsWith(file.path().filename().string(), "step-")) {
          return true;
        }
      }
    }
  }
  return false;
}

int Cluster::CountStarts(int rank, int ranks) const {
  return CountInLogs(absl::StrCat("rank=", rank, "/", ranks, " "));
}

int Cluster::CountInLogs(const std::string& text) const {
  int count = 0;
  for (const auto& [name, worker] : workers_) {
    const std::vector<std::string> parts =
        absl::StrSplit(ReadText(Path(absl::StrCat(name, ".log"))), text);
    count += static_cast<int>(parts.size()) - 1;
  }
  return count;
}

std::string Cluster::Logs() const {
  std::string all =
      absl::StrCat("--- coordinator\n", ReadText(Path("coordinator.log")));
  for (const auto& [name, worker] : workers_) {
    absl::StrAppend(&all, "--- ", name, "\n",
                    ReadText(Path(absl::StrCat(name, ".log"))));
  }
  return all;
}

Finished Cluster::Ctl(std::vector<std::string> arguments,
                      absl::Duration timeout) {
  arguments.insert(arguments.begin(),
                   {Binary("dasmctl"), "--coordinator", address_});
  return RunToEnd(At(options_.coordinator, std::move(arguments)), {}, timeout);
}

std::string Cluster::Submit(const std::string& file,
                            const std::vector<std::string>& settings) {
  std::vector<std::string> arguments = {"submit", "-f", file, "-o", "name"};
  for (const std::string& setting : settings) {
    arguments.insert(arguments.end(), {"--set", setting});
  }
  const Finished submitted = Ctl(std::move(arguments));
  EXPECT_EQ(submitted.exit_code, 0) << submitted.err;
  return std::string(absl::StripSuffix(submitted.out, "\n"));
}

std::string Cluster::AwaitDigest(const std::string& job,
                                 const std::string& output) {
  const Finished waited = Ctl({"wait", job, "--timeout", "200"});
  EXPECT_EQ(waited.exit_code, 0)
      << waited.err << Ctl({"describe", job}).out << Logs();
  if (waited.exit_code != 0) return "";
  const Finished got = Ctl({"download", job, "--output", output});
  EXPECT_EQ(got.exit_code, 0) << got.err;
  return DigestOf(output);
}

void Cluster::ExpectNothingLeft() {
  EXPECT_TRUE(Eventually([&] { return Runners().empty(); }));
  for (const auto& [name, worker] : workers_) {
    if (!worker->running()) continue;
    std::error_code error;
    EXPECT_TRUE(Eventually([&] {
      return std::filesystem::is_empty(Path(name) + "/tasks", error);
    })) << name;
    const std::string sockets = ReadText(Path(name) + "/socket_folder");
    worker->Signal(SIGTERM);
    EXPECT_EQ(worker->Wait(), 0) << worker->Log();
    EXPECT_FALSE(sockets.empty());
    EXPECT_FALSE(
        std::filesystem::exists(std::string(absl::StripSuffix(sockets, "\n"))))
        << sockets;
  }
}

}  // namespace dasm::testing_support
