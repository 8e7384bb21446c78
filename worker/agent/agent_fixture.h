// An agent on fakes: for tests of what agents do with attempts.
#ifndef DASM_WORKER_AGENT_AGENT_FIXTURE_H_
#define DASM_WORKER_AGENT_AGENT_FIXTURE_H_

#include <stdlib.h>

#include <atomic>
#include <filesystem>
#include <fstream>
#include <memory>
#include <optional>
#include <string>
#include <thread>

#include "absl/strings/str_cat.h"
#include "common/artifact/digest.h"
#include "common/base/fake_clock.h"
#include "google/protobuf/util/json_util.h"
#include "gtest/gtest.h"
#include "worker/agent/agent.h"
#include "worker/agent/fake_coordinator_link.h"
#include "worker/agent/fake_runner.h"

namespace dasm {

inline constexpr absl::Duration kLong =
    absl::Minutes(2);  // ends a test that hangs
inline constexpr char kTask[] = "0123456789abcdef0123456789abcdef";

inline worker::v1::Assignment MakeAssignment(uint64_t fence) {
  worker::v1::Assignment assignment;
  assignment.set_task(kTask);
  assignment.set_fence(fence);
  assignment.set_attempt(1);
  assignment.set_kind("evaluate");
  assignment.set_parameters_json("{}");
  return assignment;
}

inline worker::v1::SynchronizeResponse Only(
    const worker::v1::Assignment& assignment) {
  worker::v1::SynchronizeResponse response;
  *response.add_assignments() = assignment;
  return response;
}

inline worker::v1::RunnerMessage Finished(const std::string& failure_class) {
  worker::v1::RunnerMessage message;
  message.mutable_finished()->set_failure_class(failure_class);
  message.mutable_finished()->set_message("as told");
  return message;
}

inline bool IsIdle(const worker::v1::SynchronizeRequest& request) {
  return request.running_size() == 0 && request.applied_generation() > 0;
}

class AgentTest : public ::testing::Test {
 protected:
  AgentTest() {
    std::string folder = absl::StrCat(::testing::TempDir(), "/agent-XXXXXX");
    directory_ = mkdtemp(folder.data());
    std::filesystem::create_directories(tasks());
    BlobCache::Options cache_options;
    cache_options.directory = absl::StrCat(directory_, "/cache");
    cache_ = *BlobCache::Open(
        cache_options, LocalFileSystem(),
        [this](const std::string& digest, const std::string& path) {
          return coordinator_.Download(digest, path, 0444);
        });
    const std::string data = absl::StrCat(directory_, "/data");
    std::filesystem::create_directories(data);
    std::ofstream(data + "/images") << "pixels";
    data_ = *DataRoots::Create({data});
    Telemetry::Options telemetry_options;
    telemetry_options.worker = "w";
    telemetry_options.period = absl::ZeroDuration();
    telemetry_ =
        std::make_unique<Telemetry>(telemetry_options, &coordinator_, &clock_);
  }
  ~AgentTest() override {
    Stop();
    std::error_code ignored;
    std::filesystem::remove_all(directory_, ignored);
  }

  void Start(int slots = 1) {
    Attempt::Seams seams;
    seams.clock = &clock_;
    seams.fs = LocalFileSystem();
    seams.coordinator = &coordinator_;
    seams.launcher = &runner_;
    seams.hub = &runner_;
    seams.cache = cache_.get();
    seams.telemetry = telemetry_.get();
    seams.gauges = &gauges_;
    seams.data = &*data_;
    seams.oom_kills = [this] { return oom_kills_.load(); };
    Agent::Options options;
    options.attempt.worker = "w";
    options.attempt.tasks_directory = tasks();
    options.attempt.runner = "runner";
    options.attempt.join_deadline = absl::Minutes(1);
    options.incarnation = "one";
    options.inventory.slots = slots;
    agent_ = std::make_unique<Agent>(options, seams, [] {});
    thread_ = std::thread([this] { end_ = agent_->Run(); });
  }
  absl::Status Join() {
    thread_.join();
    return end_;
  }
  void Stop() {
    if (agent_ == nullptr) return;
    agent_->Abandon();
    if (thread_.joinable()) thread_.join();
    agent_.reset();
  }

  // Moves the clock until `reached` (which waits a little) is true.
  template <typename Reached>
  bool AdvanceUntil(const Reached& reached) {
    for (int i = 0; i < 400; ++i) {
      if (reached(absl::Milliseconds(25))) return true;
      clock_.Advance(absl::Seconds(1));
    }
    return false;
  }

  std::string tasks() const { return absl::StrCat(directory_, "/tasks"); }
  std::string Folder(uint64_t fence, int rank = 0) const {
    return absl::StrCat(tasks(), "/", AttemptDirectoryName(kTask, fence, rank));
  }
  worker::v1::TaskFile ReadTask(uint64_t fence, int rank = 0) const {
    worker::v1::TaskFile file;
    const auto json =
        LocalFileSystem()->Read(Folder(fence, rank) + "/task.json");
    EXPECT_TRUE(json.ok()) << json.status();
    EXPECT_TRUE(
        google::protobuf::util::JsonStringToMessage(json.value_or(""), &file)
            .ok());
    return file;
  }
  void WriteFile(const std::string& path, const std::string& bytes) {
    std::filesystem::create_directories(
        std::filesystem::path(path).parent_path());
    std::ofstream(path) << bytes;
  }
  void SayCheckpoint(uint64_t fence, int64_t step) {
    WriteFile(absl::StrCat(Folder(fence), "/ckpt/step-", step, ".safetensors"),
              absl::StrCat("state after ", step));
    worker::v1::RunnerMessage message;
    message.mutable_checkpoint()->set_file(
        absl::StrCat("ckpt/step-", step, ".safetensors"));
    message.mutable_checkpoint()->set_step(step);
    runner_.Say(message);
  }
  void FinishWithOutput(uint64_t fence, const std::string& bytes) {
    WriteFile(Folder(fence) + "/out/set.safetensors", bytes);
    worker::v1::RunnerMessage message = Finished("");
    (*message.mutable_finished()->mutable_outputs())["set"] = "set.safetensors";
    runner_.Say(message);
    EXPECT_TRUE(runner_.AwaitSent(
        [](const worker::v1::AgentMessage& sent) {
          return sent.acknowledged();
        },
        kLong));
    runner_.Exit({});
  }

  std::string directory_;
  FakeClock clock_;
  FakeCoordinatorLink coordinator_;
  FakeRunner runner_;
  std::unique_ptr<BlobCache> cache_;
  std::optional<DataRoots> data_;
  std::unique_ptr<Telemetry> telemetry_;
  Metrics metrics_;
  SegmentGauges gauges_{&metrics_};
  std::atomic<int64_t> oom_kills_ = 0;
  std::unique_ptr<Agent> agent_;
  std::thread thread_;
  absl::Status end_;
};

}  // namespace dasm

#endif  // DASM_WORKER_AGENT_AGENT_FIXTURE_H_
