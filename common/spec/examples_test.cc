// The job files of examples/, which the documentation points to.
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include "common/spec/job_spec.h"
#include "common/spec/spec_for_tests.h"
#include "gtest/gtest.h"

namespace dasm {
namespace {

TEST(Examples, ExpandAndSayWhatTheyAre) {
  struct Example {
    const char* file;
    const char* method;
  };
  for (const Example& example :
       {Example{"quickstart.yaml", "dasm"}, Example{"idc.yaml", "idc"},
        Example{"mtt.yaml", "trajectory"}, Example{"datm.yaml", "trajectory"},
        Example{"evaluate.yaml", "evaluate"}}) {
    std::ifstream file(std::string(DASM_EXAMPLES_DIR "/") + example.file);
    ASSERT_TRUE(file.good()) << example.file;
    std::stringstream text;
    text << file.rdbuf();
    EXPECT_EQ(text.str().substr(0, 2), "# ") << example.file;
    EXPECT_EQ(Expand(text.str()).spec.Method(), example.method);
  }
}

TEST(Examples, QuickstartIsWhatTheReadmeSays) {
  std::ifstream file(DASM_EXAMPLES_DIR "/quickstart.yaml");
  std::stringstream text;
  text << file.rdbuf();
  const JobSpec spec = Expand(text.str()).spec;
  EXPECT_EQ(spec.dataset.name, "fashion-mnist");
  EXPECT_EQ(spec.sequence.segments, (std::vector{1, 1}));
  EXPECT_EQ(spec.network.width, 32);
  EXPECT_EQ(spec.synthesis.factor, 2);
  EXPECT_EQ(spec.sequence.discriminators, 1);
  EXPECT_EQ(spec.matching.inits, 8);
  EXPECT_EQ(spec.matching.later_inits, 8);
  EXPECT_EQ(spec.matching.steps_per_init, 8);
  EXPECT_EQ(spec.evaluation.training.steps, 600);
  EXPECT_EQ(spec.evaluation.repeats, 3);
  EXPECT_EQ(
      spec.evaluation.baselines,
      (std::vector{Baseline::kRandom, Baseline::kTiles, Baseline::kStart}));
  EXPECT_TRUE(spec.evaluation.prefixes);
}

}  // namespace
}  // namespace dasm
