// The jobs of the gang tests.
#ifndef DASM_TESTS_SYSTEM_GANG_JOB_H_
#define DASM_TESTS_SYSTEM_GANG_JOB_H_

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "tests/support/process.h"
#include "tests/support/service.h"

namespace dasm::testing_support {

// Settings of TinyJob() under which a segment takes several seconds, long
// enough to be hit by a fault.
inline std::vector<std::string> LongSegments(int ranks) {
  return {absl::StrCat("resources.ranks=", ranks), "matching.gradient.inits=24",
          "matching.gradient.later_inits=12"};
}

// Of job.yaml in `folder` with these settings, computed by itself.
inline std::string DigestOfOneRank(const TemporaryFolder& folder,
                                   const std::vector<std::string>& settings) {
  std::vector<std::string> argv = {Binary("dasmctl"),
                                   "run",
                                   folder / "job.yaml",
                                   "--output",
                                   folder / "one",
                                   "--state",
                                   folder / "state",
                                   "--data",
                                   folder.path(),
                                   "--threads",
                                   "1"};
  for (const std::string& setting : settings) {
    argv.insert(argv.end(), {"--set", setting});
  }
  const Finished run = RunToEnd(argv);
  EXPECT_EQ(run.exit_code, 0) << run.err;
  return DigestOf(folder / "one");
}

}  // namespace dasm::testing_support

#endif  // DASM_TESTS_SYSTEM_GANG_JOB_H_
