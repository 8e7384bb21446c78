// Job files as text, expanded or refused, for tests.
#ifndef DASM_COMMON_SPEC_SPEC_FOR_TESTS_H_
#define DASM_COMMON_SPEC_SPEC_FOR_TESTS_H_

#include <string>
#include <vector>

#include "common/base/error.h"
#include "common/spec/job_spec_proto.h"
#include "common/spec/yaml.h"
#include "gtest/gtest.h"

namespace dasm {

inline v1::JobSpec Parse(const std::string& yaml) {
  const auto spec = ParseJobFile(yaml);
  EXPECT_TRUE(spec.ok()) << spec.status() << "\n" << yaml;
  return spec.ok() ? *spec : v1::JobSpec();
}

inline ExpandedSpec Expand(const std::string& yaml) {
  const auto expanded = ExpandSpec(Parse(yaml));
  EXPECT_TRUE(expanded.ok()) << expanded.status() << "\n" << yaml;
  return expanded.ok() ? *expanded : ExpandedSpec();
}

inline JobSpec ExpandPreset(const std::string& name) {
  v1::JobSpec given;
  given.set_preset(name);
  const auto expanded = ExpandSpec(given);
  EXPECT_TRUE(expanded.ok()) << name << ": " << expanded.status();
  return expanded.ok() ? expanded->spec : JobSpec();
}

// A job that matches trajectories: ten images of ten classes; 50 epochs of
// experts, start epochs below 20. `more` is added at top level.
inline std::string TrajectoryJob(
    const std::string& matching, const std::string& more = "",
    const std::string& sequence = "one_segment: {}") {
  return "dataset: {name: cifar-10}\nimages_per_class: 10\n"
         "matching: {trajectory: {" +
         matching + "}}\nsequence: {" + sequence + "}\n" + more;
}

// A job file that ends as INVALID_ARGUMENT about `field`, and what the message
// has in it.
struct Refused {
  std::string yaml;
  const char* field;
  const char* says;
};

inline void ExpectRefused(const std::vector<Refused>& cases) {
  for (const Refused& c : cases) {
    const auto expanded = ExpandSpec(Parse(c.yaml));
    ASSERT_EQ(expanded.status().code(), absl::StatusCode::kInvalidArgument)
        << c.yaml;
    EXPECT_EQ(FieldOf(expanded.status()), c.field) << c.yaml << "\n"
                                                   << expanded.status();
    EXPECT_NE(std::string(expanded.status().message()).find(c.says),
              std::string::npos)
        << c.yaml << "\n"
        << expanded.status();
  }
}

}  // namespace dasm

#endif  // DASM_COMMON_SPEC_SPEC_FOR_TESTS_H_
