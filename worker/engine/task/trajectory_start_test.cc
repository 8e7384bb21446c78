#include "worker/engine/task/trajectory_start.h"

#include <ATen/ATen.h>

#include <string>
#include <vector>

#include "common/base/error.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "worker/collective/single_process_collective.h"
#include "worker/engine/labels/experts_for_tests.h"

namespace dasm {
namespace {

using ::testing::AllOf;
using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::Ge;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Le;
using ::testing::UnorderedElementsAre;

// Keeps what it is told.
class Listener final : public TaskObserver {
 public:
  std::vector<std::string> lines;

  void Progress(int64_t, int64_t, double, std::string_view) override {}
  void Point(std::string_view, int64_t, double) override {}
  void Line(std::string_view severity, std::string_view text) override {
    lines.push_back(std::string(severity) + " " + std::string(text));
  }
  Wish Poll() override { return Wish::kNone; }
  absl::Status WriteCheckpoint(
      int64_t, const std::map<std::string, TensorView>&) override {
    return absl::OkStatus();
  }
};

// Ten images each of classes "a", "b" and "c", of levels 1 to 30. Levels up to
// `limit` are "a" to the expert, up to 20 "b", the others "c".
class TrajectoryStartTest : public ::testing::Test {
 protected:
  TrajectoryStartTest()
      : levels_(30), labels_(30), tests_(Fill(&levels_), labels_), pools_(3) {}

  const std::vector<int>& Fill(std::vector<int>* levels) {
    for (int i = 0; i < 30; ++i) {
      (*levels)[i] = i + 1;
      labels_[i] = i / 10;
    }
    return *levels;
  }

  void AddExpert(double limit) {
    const double slope = 255;  // an image's brightness is its level / 255
    tests_.Add({{{0, slope, 2 * slope}, {0, -limit, -limit - 20.5}}});
  }

  absl::StatusOr<SetData> Draw() {
    SingleProcessCollective alone;
    const TaskFiles files;
    const TaskContext context = {files, at::kCPU, &alone, &observer_};
    const ExecutionSpec execution;
    TrajectoryMatchingSpec matching;
    matching.label_epoch = -1;
    const TrajectoryStartOptions options = {.seed = 3,
                                            .init = Init::kCorrect,
                                            .images_per_class = 2,
                                            .matching = matching,
                                            .execution = execution};
    return DrawTrajectoryStart(options, tests_.data(), tests_.network(),
                               tests_.experts(), pools_, {}, context);
  }

  // Which training images class `label` starts from.
  static std::vector<int64_t> Sources(const SetData& set, int label) {
    const int64_t* all = set.source.const_data_ptr<int64_t>();
    return {all + 2 * label, all + 2 * label + 2};
  }

  std::vector<int> levels_;
  std::vector<int64_t> labels_;
  ExpertsForTests tests_;
  std::vector<ClassPool> pools_;
  Listener observer_;
};

TEST_F(TrajectoryStartTest, TakesRecognisedImagesOfThePool) {
  AddExpert(15.5);
  pools_[1].members = {11, 12, 17, 18};
  const auto set = Draw();
  ASSERT_TRUE(set.ok()) << set.status();
  EXPECT_THAT(Sources(*set, 1), UnorderedElementsAre(17, 18));
  EXPECT_THAT(observer_.lines, IsEmpty());
}

TEST_F(TrajectoryStartTest, PoolThatIsTooHardGivesWayToTheWholeClass) {
  AddExpert(15.5);
  pools_[1].members = {10, 11, 12, 13};
  const auto set = Draw();
  ASSERT_TRUE(set.ok()) << set.status();
  EXPECT_THAT(Sources(*set, 1), Each(AllOf(Ge(15), Le(19))));
  EXPECT_THAT(observer_.lines,
              ElementsAre(HasSubstr("WARNING class \"b\": no expert classifies "
                                    "an image of its pool of 4 correctly")));
}

TEST_F(TrajectoryStartTest, ClassThatNoExpertRecognisesIsRefusedByName) {
  AddExpert(20.5);
  for (const bool pool : {false, true}) {
    if (pool) pools_[1].members = {10, 11};
    const absl::Status refused = Draw().status();
    EXPECT_EQ(FailureClassOf(refused), FailureClass::kData);
    EXPECT_THAT(std::string(refused.message()),
                AllOf(HasSubstr("class \"b\" has no training image that one of "
                                "1 experts classifies correctly"),
                      HasSubstr("synthesis.init: real")));
  }
}

}  // namespace
}  // namespace dasm
