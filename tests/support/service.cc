#include "tests/support/service.h"

#include <signal.h>

#include <fstream>
#include <sstream>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"

namespace dasm::testing_support {

std::string Binary(const std::string& name) {
  return absl::StrCat(DASM_BINARY_DIR, "/", name);
}

Service::Service(std::string folder, std::string data, double lease,
                 std::vector<std::string> coordinator_flags)
    : folder_(std::move(folder)),
      data_(std::move(data)),
      lease_(lease),
      coordinator_flags_(std::move(coordinator_flags)) {}

std::string Service::StartCoordinator() {
  std::vector<std::string> argv = {Binary("dasm-coordinator"),
                                   "--state",
                                   state("coordinator"),
                                   "--listen",
                                   address(),
                                   "--http",
                                   "127.0.0.1:0",
                                   "--data",
                                   data_,
                                   "--lease",
                                   absl::StrCat(lease_)};
  argv.insert(argv.end(), coordinator_flags_.begin(), coordinator_flags_.end());
  coordinator_ = std::make_unique<Process>(
      std::move(argv), absl::StrCat(folder_, "/coordinator.log"));
  return coordinator_->ReadLine();
}

std::string Service::StartWorker(const std::string& name, int slots,
                                 int threads,
                                 const std::vector<std::string>& flags) {
  std::vector<std::string> argv = {Binary("dasm-worker"),
                                   "--coordinator",
                                   address(),
                                   "--state",
                                   state(name),
                                   "--slots",
                                   absl::StrCat(slots),
                                   "--threads",
                                   absl::StrCat(threads),
                                   "--data",
                                   data_};
  argv.insert(argv.end(), flags.begin(), flags.end());
  worker_ =
      std::make_unique<Process>(argv, absl::StrCat(folder_, "/", name, ".log"));
  return worker_->ReadLine();
}

void Service::KillCoordinator() {
  coordinator_->Signal(SIGKILL);
  coordinator_->Wait();
}

void Service::KillWorker() {
  worker_->Signal(SIGKILL);
  worker_->Wait();
}

std::vector<int> Service::Runners() {
  return worker_ != nullptr && worker_->running()
             ? ChildrenOf(worker_->pid(), "dasm-runner")
             : std::vector<int>();
}

Finished Service::Ctl(std::vector<std::string> arguments,
                      const std::string& input, absl::Duration timeout) {
  arguments.insert(arguments.begin(),
                   {Binary("dasmctl"), "--coordinator", address()});
  return RunToEnd(arguments, {}, timeout, input);
}

std::string Service::address() const {
  return absl::StrCat("unix:", folder_, "/c.sock");
}

std::string Service::state(const std::string& name) const {
  return absl::StrCat(folder_, "/", name);
}

std::string DigestOf(const std::string& directory) {
  const auto report = nlohmann::json::parse(
      ReadText(absl::StrCat(directory, "/report.json")), nullptr, false);
  EXPECT_TRUE(report.is_object() && report.contains("digest")) << directory;
  return report.is_object() ? report.value("digest", "") : "";
}

void WriteText(const std::string& path, const std::string& text) {
  std::ofstream(path, std::ios::binary) << text;
}

std::string ReadText(const std::string& path) {
  std::ifstream stream(path, std::ios::binary);
  std::stringstream text;
  text << stream.rdbuf();
  return text.str();
}

}  // namespace dasm::testing_support
