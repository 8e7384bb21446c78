#include "common/spec/sequence_reader.h"

#include <string>
#include <vector>

#include "common/spec/job_spec_proto.h"
#include "common/spec/spec_for_tests.h"
#include "gtest/gtest.h"

namespace dasm {
namespace {

TEST(SequenceReader, SeqMatchHasTwoSubsetsThatTheStudentSeesTogether) {
  const ExpandedSpec e = Expand(TrajectoryJob("", "", "seqmatch: {}"));
  EXPECT_EQ(e.spec.Method(), "seqmatch");
  EXPECT_EQ(e.spec.sequence.segments, (std::vector{5, 5}));
  EXPECT_TRUE(e.spec.sequence.visible_earlier);
  EXPECT_EQ(e.spec.sequence.pool, PoolRule::kAll);
  EXPECT_EQ(e.spec.evaluation.orders, std::vector{Order::kCumulative});
  EXPECT_TRUE(e.spec.evaluation.prefixes);
  ASSERT_EQ(e.spec.sequence.stages.size(), 2u);
  EXPECT_EQ(e.spec.sequence.stages[0].expert_epochs, 50);
  // As many as the interval needs: 20 - 1 + 2.
  EXPECT_EQ(e.spec.sequence.stages[1].expert_epochs, 21);
  EXPECT_EQ(e.origins.at("sequence.seqmatch.segments"), "derived");
  EXPECT_EQ(e.origins.at("sequence.seqmatch.stages"), "derived");
  EXPECT_EQ(Expand("dataset: {name: cifar-10}\nimages_per_class: 50\n"
                   "matching: {trajectory: {}}\n"
                   "sequence: {seqmatch: {segments: [17, 17, 16]}}\n")
                .spec.sequence.stages.size(),
            3u);
}

TEST(SequenceReader, DasmIsEvaluatedInEveryOrder) {
  const JobSpec spec =
      Expand(TrajectoryJob("", "",
                           "dasm: {union: true, stages: [{}, {iterations: 7, "
                           "matched_epochs: 1, expert_epochs: 25}]}"))
          .spec;
  EXPECT_EQ(spec.Method(), "dasm-trajectory");
  EXPECT_TRUE(spec.sequence.visible_earlier);
  EXPECT_EQ(spec.evaluation.orders,
            (std::vector{Order::kCumulative, Order::kStaged, Order::kUnion}));
  EXPECT_EQ(spec.sequence.stages[0].iterations, 5000);
  EXPECT_EQ(spec.sequence.stages[1].iterations, 7);
  EXPECT_EQ(spec.sequence.stages[1].student_steps, 30);
  EXPECT_EQ(spec.sequence.stages[1].matched_epochs, 1);
  EXPECT_EQ(spec.sequence.stages[1].expert_epochs, 25);
}

TEST(SequenceReader, SequencesDisplaceEachOther) {
  const JobSpec one = Expand(
                          "preset: dasm-trajectory/cifar-10/ipc10\n"
                          "sequence: {one_segment: {}}\n")
                          .spec;
  EXPECT_EQ(one.Method(), "trajectory");
  EXPECT_EQ(one.trajectory->labels, Labels::kSoftLearned);
  EXPECT_EQ(Expand("preset: seqmatch/cifar-10/ipc10\nsequence: {dasm: {}}\n")
                .spec.Method(),
            "dasm-trajectory");
}

TEST(SequenceReader, SequencesThatDoNotFitAreRefused) {
  const std::string gradient =
      "dataset: {name: cifar-10}\nimages_per_class: 10\n";
  ExpectRefused({
      {TrajectoryJob("", "", "dasm: {stages: [{}]}"), "sequence.dasm.stages",
       "1 stages for 2 segments"},
      {TrajectoryJob("", "", "seqmatch: {segments: [5, 4]}"),
       "sequence.seqmatch.segments", "sums to 9"},
      {TrajectoryJob("", "", "seqmatch: {segments: [10, 0]}"),
       "sequence.seqmatch.segments", "at least 1"},
      {TrajectoryJob("", "", "seqmatch: {}, dasm: {}"), "sequence",
       "only one of"},
      {"dataset: {name: cifar-10}\nimages_per_class: 10\n"
       "matching: {trajectory: {}}\n",
       "sequence", "seqmatch: {}"},
      {gradient + "sequence: {seqmatch: {}}", "sequence.seqmatch",
       "give matching.trajectory"},
      {gradient + "sequence: {dasm: {stages: [{}, {}]}}",
       "sequence.dasm.stages", "match trajectories"},
      {gradient + "sequence: {dasm: {union: true}}", "sequence.dasm.union",
       "leave it out"},
  });
}

}  // namespace
}  // namespace dasm
