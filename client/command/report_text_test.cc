#include "client/command/report_text.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace dasm {
namespace {

using testing::HasSubstr;
using testing::Not;

TEST(AccuracyTable, AReportOfOtherTypesIsNoCrash) {
  for (const char* report :
       {R"({"accuracy": 5, "method": 7, "images_per_class": 1e300})",
        R"({"accuracy": {"n": {"mean": "x", "std": []}}, "baselines": 3})",
        R"({"accuracy": {"n": 1}, "baselines": {"random": [1]},
            "prefixes": [4, {"accuracy": 2}]})",
        R"({"accuracy": {"n": {"mean": 1, "std": "x"}}, "prefixes": 9})"}) {
    EXPECT_TRUE(AccuracyTable(report).ok()) << report;
  }
  EXPECT_FALSE(AccuracyTable("[]").ok());
}

TEST(AccuracyTable, HasARowForEachBaselineAndTheResult) {
  const auto table = AccuracyTable(R"({
    "method": "dasm", "images_per_class": 2,
    "accuracy": {"convnet": {"mean": 72.94, "std": 0.5, "runs": [72.9]}},
    "baselines": {
      "random": {"accuracy": {"convnet": {"mean": 57.5, "std": 1}}},
      "tiles": {"accuracy": {"convnet": {"mean": 68.0, "std": 1}}},
      "start": {"accuracy": {"convnet": {"mean": 68.7, "std": 1}}}},
    "prefixes": [{"images_per_class": 1,
                  "accuracy": {"convnet": {"mean": 66.0, "std": 1}}}]})");
  ASSERT_TRUE(table.ok());
  EXPECT_THAT(*table, HasSubstr("convnet (test %)"));
  for (const char* row : {"random real images", "random tiles", "own start",
                          "first segments", "dasm"}) {
    EXPECT_THAT(*table, HasSubstr(row));
  }
  EXPECT_THAT(*table, HasSubstr("72.9 ± 0.5"));
}

TEST(ReportText, NamesProtocolOrdersSnapshotAndRawPixels) {
  const auto text = ReportText(R"({
    "method": "ftd", "images_per_class": 10,
    "protocol": "validation", "protocol_meaning": "the best on the split",
    "accuracy": {"convnet": {"mean": 60, "std": 1}},
    "raw": {"accuracy": {"convnet": {"mean": 58, "std": 1}}},
    "orders": {"cumulative": {"accuracy": {"convnet": {"mean": 60, "std": 1}}},
               "union": {"accuracy": {"convnet": {"mean": 57, "std": 1}}}},
    "snapshot": {"iteration": 400},
    "snapshots": [{"iteration": 200, "split": "test"},
                  {"iteration": 400, "split": "test"}],
    "experts": [{"segment": 1, "count": 100, "epochs": 50,
                 "training_accuracy": 98.5}],
    "ranges": [{"segment": 1, "start_epoch_min": 0, "start_epoch_initial": 10,
                "start_epoch_max": 20}],
    "step_sizes": [0.0125], "label_entropy": [0.5],
    "skipped_iterations": [3]})");
  ASSERT_TRUE(text.ok()) << text.status();
  for (const char* part :
       {"protocol:       validation: the best on the split",
        "chosen:         iteration 400 of 2 snapshots",
        "without moving average", "trained cumulative", "trained union",
        "experts:        100 of 50 epochs, training accuracy 98.5 %",
        "range:          start epochs 0 to 20, at first to 10",
        "step size:      0.0125", "skipped:        3"}) {
    EXPECT_THAT(*text, HasSubstr(part));
  }
}

TEST(ReportText, OfOtherMethodsIsTheTableAlone) {
  const char* report = R"({"accuracy": {"convnet": {"mean": 1, "std": 0}}})";
  EXPECT_EQ(*ReportText(report), *AccuracyTable(report));
}

TEST(ReportText, ManyNetworksStandBelowEachOther) {
  const auto text = ReportText(R"({"method": "datm", "images_per_class": 10,
    "accuracy": {"alexnet": {"mean": 40, "std": 1},
                 "convnet": {"mean": 60, "std": 1},
                 "resnet18-batch": {"mean": 50.25, "std": 1}},
    "baselines": {"random": {"accuracy": {
                 "resnet18-batch": {"mean": 20, "std": 2}}}}})");
  ASSERT_TRUE(text.ok());
  EXPECT_THAT(*text, HasSubstr("resnet18-batch   50.2 ± 1.0   20.0 ± 2.0"));
  EXPECT_THAT(*text, Not(HasSubstr("resnet18-batch (test %)")));
}

TEST(ReportText, AReportOfOtherTypesIsNoCrash) {
  for (const char* report :
       {R"({"accuracy": 5, "protocol": 3, "orders": [1], "raw": "x"})",
        R"({"accuracy": {}, "protocol": "last", "snapshot": [], "experts": 5,
            "snapshots": {"a": 1}, "ranges": [[]], "step_sizes": "x"})"}) {
    EXPECT_TRUE(ReportText(report).ok()) << report;
  }
}

}  // namespace
}  // namespace dasm
