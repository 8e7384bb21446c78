#include "worker/agent/segment_gauges.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace dasm {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

constexpr char kTask[] = "0123";

class SegmentGaugesTest : public ::testing::Test {
 protected:
  Metrics metrics_;
  SegmentGauges gauges_{&metrics_};
};

TEST_F(SegmentGaugesTest, BothKindsOfMatchingHaveTheSameGauges) {
  for (const char* kind : {"distill_segment", "match_trajectories"}) {
    const auto subject =
        SegmentGauges::SubjectOf(kTask, kind, R"({"segment":2})");
    ASSERT_TRUE(subject.has_value()) << kind;
    gauges_.SetSeries(*subject, "matching_loss", 0.5);
    gauges_.SetSeries(*subject, "step_size", 0.25);
    gauges_.SetStepsPerSecond(*subject, 4);
    const std::string text = metrics_.Text();
    EXPECT_THAT(text, HasSubstr("dasm_distill_matching_loss{segment=\"2\","
                                "task=\"0123\"} 0.5"));
    EXPECT_THAT(text, HasSubstr("dasm_distill_step_size{segment=\"2\","
                                "task=\"0123\"} 0.25"));
    EXPECT_THAT(text, HasSubstr("dasm_distill_step_seconds{segment=\"2\","
                                "task=\"0123\"} 0.25"));
    gauges_.Remove(*subject);
    EXPECT_THAT(metrics_.Text(), Not(HasSubstr("task=\"0123\"")));
  }
}

TEST_F(SegmentGaugesTest, ExpertsHaveTheirTrainingLossAlone) {
  const auto subject = SegmentGauges::SubjectOf(kTask, "train_experts",
                                                R"({"count":5,"first":10})");
  ASSERT_TRUE(subject.has_value());
  gauges_.SetSeries(*subject, "training_loss", 1.5);
  gauges_.SetSeries(*subject, "matching_loss", 1.5);
  gauges_.SetStepsPerSecond(*subject, 4);
  EXPECT_THAT(metrics_.Text(),
              HasSubstr("dasm_expert_training_loss{experts=\"10-14\","
                        "task=\"0123\"} 1.5"));
  EXPECT_THAT(metrics_.Text(), Not(HasSubstr("step_seconds{")));
  EXPECT_THAT(metrics_.Text(), Not(HasSubstr("matching_loss{")));
}

TEST_F(SegmentGaugesTest, OtherTasksHaveNone) {
  EXPECT_FALSE(SegmentGauges::SubjectOf(kTask, "evaluate", "{}").has_value());
  // Parameters of another shape are no crash.
  for (const char* json : {"", "[]", R"({"segment":"x"})"}) {
    EXPECT_EQ(SegmentGauges::SubjectOf(kTask, "distill_segment", json)->numbers,
              "0");
  }
}

}  // namespace
}  // namespace dasm
