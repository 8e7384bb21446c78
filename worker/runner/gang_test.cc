// Gangs of runners, each played by RunTaskDirectory with an agent of its own.
#include "worker/runner/gang.h"

#include <stdlib.h>

#include <atomic>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/base/error.h"
#include "common/base/fake_clock.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "worker/collective/thread_collective.h"
#include "worker/runner/fake_agent_channel.h"
#include "worker/runner/runner.h"

namespace dasm {
namespace {

using ::testing::AllOf;
using ::testing::AnyOf;
using ::testing::ContainsRegex;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using worker::v1::GangReady;
using worker::v1::RunnerFinished;
using worker::v1::RunnerMessage;
using worker::v1::TaskFile;

using Compute =
    std::function<absl::StatusOr<TaskOutcome>(Collective*, TaskObserver*)>;

constexpr char kSecret[] = "0123456789abcdef0123456789abcdef";

class GangTest : public ::testing::Test {
 protected:
  GangTest() {
    std::string folder = absl::StrCat(::testing::TempDir(), "/gang-XXXXXX");
    directory_ = mkdtemp(folder.data());
  }
  ~GangTest() override { std::filesystem::remove_all(directory_); }

  TaskFile Task(int rank, int ranks, int threads) const {
    TaskFile task;
    task.set_task("key");
    task.set_fence(3);
    task.set_kind("assemble");
    task.set_parameters_json("{\"factor\":1}");
    task.set_threads(threads);
    task.set_device("cpu");
    task.set_rank(rank);
    task.set_ranks(ranks);
    task.set_gang_listen("127.0.0.1:0");
    task.set_reduction("ordered");
    task.set_collective_deadline_seconds(20);
    return task;
  }
  // Runs a process of the gang to its end.
  RunnerFinished Run(const TaskFile& task, FakeAgentChannel* agent,
                     const Compute& compute, const DeviceGang& devices = {}) {
    const std::string directory = absl::StrCat(directory_, "/", task.rank());
    std::filesystem::create_directories(directory + "/out");
    std::filesystem::create_directories(directory + "/ckpt");
    TaskFunctions functions;
    functions.devices = devices;
    functions.compute = [&](const TaskParameters&, const TaskFiles&,
                            std::string_view, Collective* collective,
                            TaskObserver* observer) {
      return compute(collective, observer);
    };
    return RunTaskDirectory(directory, task, functions, agent, &clock_);
  }
  // As the coordinator: when every process listens, each hears of all.
  void Introduce(const std::vector<FakeAgentChannel*>& agents,
                 const std::string& secret = kSecret) {
    GangReady ready;
    ready.set_secret(secret);
    for (FakeAgentChannel* agent : agents) {
      *ready.add_members() = agent
                                 ->AwaitSent([](const RunnerMessage& message) {
                                   return message.has_gang_endpoint();
                                 })
                                 .gang_endpoint()
                                 .member();
    }
    for (FakeAgentChannel* agent : agents) agent->CompleteGang(ready);
  }
  // One process a rank, of `threads` threads each.
  // With `devices`, each of them has one.
  std::vector<RunnerFinished> RunGang(int processes, int threads,
                                      const Compute& compute,
                                      const DeviceGang& devices = {}) {
    agents_.clear();
    std::vector<FakeAgentChannel*> pointers;
    for (int rank = 0; rank < processes; ++rank) {
      agents_.push_back(std::make_unique<FakeAgentChannel>());
      pointers.push_back(agents_.back().get());
    }
    std::vector<RunnerFinished> finished(processes);
    std::vector<std::thread> runners;
    for (int rank = 0; rank < processes; ++rank) {
      runners.emplace_back([&, rank] {
        TaskFile task = Task(rank, processes, threads);
        if (devices.join != nullptr) {
          task.set_device(absl::StrCat("cuda:", rank));
        }
        finished[rank] = Run(task, pointers[rank], compute, devices);
      });
    }
    Introduce(pointers);
    for (std::thread& runner : runners) runner.join();
    return finished;
  }

  std::string directory_;
  FakeClock clock_;
  std::vector<std::unique_ptr<FakeAgentChannel>> agents_;
};

// Sums 6 shards of 3 floats.
absl::StatusOr<TaskOutcome> SumSixShards(Collective* collective) {
  std::vector<float> rows(18, 0.0f);
  for (int shard = collective->rank(); shard < 6; shard += collective->size()) {
    for (int i = 0; i < 3; ++i) rows[3 * shard + i] = shard + 0.1f * i;
  }
  std::vector<float> sum(3);
  const absl::Status status =
      collective->SumShards(rows, 6, absl::MakeSpan(sum));
  if (!status.ok()) return status;
  return TaskOutcome{absl::StrCat("{\"sum\":", sum[0] + sum[1] + sum[2], "}"),
                     {{"set", "set.safetensors"}}};
}

// A plug-in whose devices meet in memory: the ranks of one id.
class FakeDevices {
 public:
  explicit FakeDevices(int ranks)
      : ranks_(*ThreadGang::Create(ranks, absl::Seconds(20))) {}

  DeviceGang Functions() {
    DeviceGang functions;
    functions.new_id = [] { return std::string("id of rank 0"); };
    functions.join = [this](const DeviceGang::Request& request)
        -> absl::StatusOr<std::unique_ptr<Collective>> {
      EXPECT_EQ(request.id, "id of rank 0");
      EXPECT_EQ(request.device, absl::StrCat("cuda:", request.rank));
      EXPECT_TRUE(request.ordered);
      EXPECT_EQ(request.deadline, absl::Seconds(20));
      return std::move(ranks_[request.rank]);
    };
    return functions;
  }

 private:
  std::vector<std::unique_ptr<Collective>> ranks_;
};

TEST_F(GangTest, DevicesMeetByTheirPluginWithTheIdOfRankZero) {
  FakeDevices devices(2);
  const auto finished = RunGang(
      2, 1,
      [](Collective* collective, TaskObserver*) {
        return SumSixShards(collective);
      },
      devices.Functions());
  EXPECT_THAT(finished[0].failure_class(), IsEmpty()) << finished[0].message();
  EXPECT_THAT(finished[1].failure_class(), IsEmpty()) << finished[1].message();
  EXPECT_THAT(finished[0].summary_json(), HasSubstr("sum"));
}

// They meet by different means, so that each kind would wait for the other.
TEST_F(GangTest, RanksOnSeveralKindsOfDevicesAreRefusedOnEveryRank) {
  const Compute compute = [](Collective*,
                             TaskObserver*) -> absl::StatusOr<TaskOutcome> {
    ADD_FAILURE() << "computed in a gang of several kinds";
    return TaskOutcome();
  };
  FakeDevices devices(3);
  const char* const places[] = {"cuda:0", "cpu", "cuda:1"};
  FakeAgentChannel agents[3];
  RunnerFinished finished[3];
  std::vector<std::thread> runners;
  for (int rank = 0; rank < 3; ++rank) {
    runners.emplace_back([&, rank] {
      TaskFile task = Task(rank, 3, 1);
      task.set_device(places[rank]);
      finished[rank] = Run(task, &agents[rank], compute, devices.Functions());
    });
  }
  Introduce({&agents[0], &agents[1], &agents[2]});
  for (std::thread& runner : runners) runner.join();
  for (int rank = 0; rank < 3; ++rank) {
    EXPECT_EQ(finished[rank].failure_class(), "SPEC");
    EXPECT_EQ(finished[rank].message(), finished[0].message());
  }
  EXPECT_THAT(finished[0].message(),
              AllOf(ContainsRegex("rank 1 at 127.0.0.1:[0-9]+ on cpu"),
                    ContainsRegex("rank 0 at .*, rank 2 at .* on cuda"),
                    HasSubstr("same --device")));
}

// What was queued on a device can fail after the loop has returned.
TEST_F(GangTest, AGangOfDevicesThatFailsAtItsEndHasNoResult) {
  FakeDevices devices(2);
  const auto finished = RunGang(
      2, 1,
      [](Collective* collective, TaskObserver*) -> absl::StatusOr<TaskOutcome> {
        if (collective->rank() == 1) {
          collective->Abort(
              WithFailureClass(absl::UnavailableError("rank 1 lost its device"),
                               FailureClass::kCollective));
        }
        return TaskOutcome{"{}", {{"set", "set.safetensors"}}};
      },
      devices.Functions());
  EXPECT_EQ(finished[0].failure_class(), "COLLECTIVE");
  EXPECT_THAT(finished[0].message(), HasSubstr("lost its device"));
  EXPECT_TRUE(finished[0].outputs().empty());
}

TEST_F(GangTest, ProcessesComputeTogetherAndRankZeroAloneReports) {
  std::atomic<int> ranks = 0;
  const auto finished =
      RunGang(2, 2, [&](Collective* collective, TaskObserver* observer) {
        ++ranks;
        EXPECT_EQ(collective->size(), 4);
        observer->Point("loss", 1, 0.5);
        observer->Progress(1, 1, 0.5, "loss");
        observer->Line("INFO", "hello");
        return SumSixShards(collective);
      });
  EXPECT_EQ(ranks, 4);
  EXPECT_EQ(finished[0].failure_class(), "") << finished[0].message();
  EXPECT_EQ(finished[1].failure_class(), "") << finished[1].message();
  EXPECT_EQ(finished[0].summary_json(), "{\"sum\":46.8}");
  EXPECT_EQ(finished[0].outputs().at("set"), "set.safetensors");
  EXPECT_EQ(finished[1].summary_json(), "");
  EXPECT_TRUE(finished[1].outputs().empty());
  // Endpoint, point, progress, line of rank 0; endpoint and line of rank 2.
  EXPECT_EQ(agents_[0]->sent().size(), 4u);
  ASSERT_EQ(agents_[1]->sent().size(), 2u);
  EXPECT_EQ(agents_[1]->sent()[1].line().text(), "hello");
}

TEST_F(GangTest, SaysWhereItListensAndWithHowManyThreads) {
  RunGang(2, 3, [](Collective*, TaskObserver*) -> absl::StatusOr<TaskOutcome> {
    return TaskOutcome();
  });
  for (int rank = 0; rank < 2; ++rank) {
    const auto member = agents_[rank]->sent()[0].gang_endpoint().member();
    EXPECT_EQ(member.rank(), rank);
    EXPECT_EQ(member.threads(), 3);
    EXPECT_EQ(member.device(), "");
    EXPECT_THAT(member.endpoint(), HasSubstr("127.0.0.1:"));
    EXPECT_THAT(member.endpoint(), testing::Not(testing::EndsWith(":0")));
  }
}

TEST_F(GangTest, OnlyRankZeroWritesCheckpoints) {
  RunGang(2, 1,
          [](Collective* collective,
             TaskObserver* observer) -> absl::StatusOr<TaskOutcome> {
            const absl::Status written = observer->WriteCheckpoint(1, {});
            if (!written.ok()) return written;
            return TaskOutcome();
          });
  EXPECT_TRUE(std::filesystem::exists(directory_ +
                                      "/0/ckpt/step-000000000001.safetensors"));
  EXPECT_TRUE(std::filesystem::is_empty(directory_ + "/1/ckpt"));
  const auto is_checkpoint = [](const RunnerMessage& message) {
    return message.has_checkpoint();
  };
  EXPECT_EQ(agents_[0]->AwaitSent(is_checkpoint).checkpoint().step(), 1);
}

TEST_F(GangTest, TheCauseOfARankThatFailsReachesAllProcesses) {
  const auto finished = RunGang(
      3, 1,
      [](Collective* collective, TaskObserver*) -> absl::StatusOr<TaskOutcome> {
        if (collective->rank() == 2) {
          return WithFailureClass(absl::InternalError("step 4: not finite"),
                                  FailureClass::kNumeric);
        }
        return collective->Barrier();
      });
  EXPECT_EQ(finished[2].failure_class(), "NUMERIC");
  for (const RunnerFinished& end : finished) {
    EXPECT_THAT(end.failure_class(), AnyOf("NUMERIC", "COLLECTIVE"));
    EXPECT_THAT(end.message(), HasSubstr("step 4"));
  }
}

TEST_F(GangTest, APeerThatDiesIsACollectiveFailureThatNamesIt) {
  const auto finished = RunGang(
      2, 1,
      [](Collective* collective, TaskObserver*) -> absl::StatusOr<TaskOutcome> {
        // It ends, and its connections with it, while its peer waits.
        if (collective->rank() == 1) return TaskOutcome();
        return collective->Barrier();
      });
  EXPECT_EQ(finished[0].failure_class(), "COLLECTIVE");
  EXPECT_THAT(finished[0].message(), HasSubstr("rank 1"));
}

TEST_F(GangTest, APeerWithAnotherSecretIsRefused) {
  FakeAgentChannel agents[2];
  RunnerFinished finished[2];
  std::thread runners[2];
  for (int rank = 0; rank < 2; ++rank) {
    runners[rank] = std::thread([&, rank] {
      TaskFile task = Task(rank, 2, 1);
      task.set_collective_deadline_seconds(2);
      finished[rank] =
          Run(task, &agents[rank], [](Collective* collective, TaskObserver*) {
            return SumSixShards(collective);
          });
    });
  }
  GangReady ready;
  for (FakeAgentChannel& agent : agents) {
    *ready.add_members() = agent
                               .AwaitSent([](const RunnerMessage& message) {
                                 return message.has_gang_endpoint();
                               })
                               .gang_endpoint()
                               .member();
  }
  ready.set_secret(kSecret);
  agents[0].CompleteGang(ready);
  ready.set_secret(std::string(32, 'x'));
  agents[1].CompleteGang(ready);
  for (std::thread& runner : runners) runner.join();
  for (const RunnerFinished& end : finished) {
    EXPECT_EQ(end.failure_class(), "COLLECTIVE") << end.message();
  }
}

TEST_F(GangTest, AStopWhileThePeersAreMissingIsAPreemption) {
  FakeAgentChannel agent;
  agent.RequestStop();
  const RunnerFinished finished =
      Run(Task(0, 2, 1), &agent,
          [](Collective*, TaskObserver*) -> absl::StatusOr<TaskOutcome> {
            ADD_FAILURE() << "computed without its peers";
            return TaskOutcome();
          });
  EXPECT_EQ(finished.failure_class(), "PREEMPTED");
}

TEST_F(GangTest, APlaceWhereItCannotListenIsNamed) {
  TaskFile task = Task(0, 2, 1);
  task.set_gang_listen("192.0.2.1:0");  // of no machine: RFC 5737
  FakeAgentChannel agent;
  const RunnerFinished finished = Run(task, &agent, nullptr);
  EXPECT_EQ(finished.failure_class(), "COLLECTIVE");
  EXPECT_THAT(finished.message(), HasSubstr("192.0.2.1:0"));
  EXPECT_THAT(finished.message(), HasSubstr("--gang-address"));
}

TEST_F(GangTest, MembersThatAreNotTheGangAreRefused) {
  FakeAgentChannel agent;
  GangReady ready;
  ready.set_secret(kSecret);
  ready.add_members()->set_rank(1);
  ready.add_members()->set_rank(0);
  agent.CompleteGang(ready);
  const RunnerFinished finished = Run(Task(0, 2, 1), &agent, nullptr);
  EXPECT_EQ(finished.failure_class(), "INTERNAL");
  EXPECT_THAT(finished.message(), HasSubstr("order of their ranks"));
}

TEST_F(GangTest, KindsThatReadFilesHaveNoRanks) {
  TaskFile task = Task(0, 2, 1);
  task.set_kind("import_set");
  task.set_parameters_json("{\"factor\":1,\"space\":\"pixel\"}");
  FakeAgentChannel agent;
  const RunnerFinished finished = Run(task, &agent, nullptr);
  EXPECT_EQ(finished.failure_class(), "SPEC");
  EXPECT_THAT(agent.sent(), IsEmpty());
}

}  // namespace
}  // namespace dasm
