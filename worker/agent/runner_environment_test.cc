#include "worker/agent/runner_environment.h"

#include <fstream>
#include <set>
#include <string>

#include "absl/strings/match.h"
#include "absl/strings/str_split.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace dasm {
namespace {

using ::testing::Contains;
using ::testing::Not;

TEST(RunnerEnvironment, PinsWhatDecidesBitsWhateverIsInherited) {
  const auto lines = RunnerEnvironment(
      {"OMP_NUM_THREADS=8", "HOME=/home/x", "MKL_CBWR=AVX512"},
      InstructionSet::kAvx2);
  EXPECT_THAT(lines, Contains("OMP_NUM_THREADS=1"));
  EXPECT_THAT(lines, Contains("OMP_WAIT_POLICY=PASSIVE"));
  EXPECT_THAT(lines, Contains("GOMP_SPINCOUNT=10000"));
  EXPECT_THAT(lines, Contains("MKL_CBWR=AVX2"));
  EXPECT_THAT(lines, Contains("ATEN_CPU_CAPABILITY=avx2"));
  EXPECT_THAT(lines, Contains("ONEDNN_MAX_CPU_ISA=AVX2"));
  EXPECT_THAT(lines, Contains("OPENBLAS_CORETYPE=Haswell"));
  EXPECT_THAT(lines, Contains("HOME=/home/x"));
  EXPECT_THAT(lines, Not(Contains("OMP_NUM_THREADS=8")));
}

TEST(RunnerEnvironment, PinsTheWiderSetWhereItIsAskedFor) {
  const auto lines = RunnerEnvironment({}, InstructionSet::kAvx512);
  EXPECT_THAT(lines, Contains("ATEN_CPU_CAPABILITY=avx512"));
  EXPECT_THAT(lines, Contains("ONEDNN_MAX_CPU_ISA=AVX512_CORE"));
  EXPECT_THAT(lines, Contains("OPENBLAS_CORETYPE=SkylakeX"));
  EXPECT_THAT(lines, Contains("MKL_CBWR=AVX512"));
}

TEST(RunnerEnvironment, MultipliesBytesExactlyWhereTheCpuDoes) {
  const auto lines = RunnerEnvironment({}, InstructionSet::kAvx512Vnni);
  EXPECT_THAT(lines, Contains("ATEN_CPU_CAPABILITY=avx512"));
  EXPECT_THAT(lines, Contains("ONEDNN_MAX_CPU_ISA=AVX512_CORE_VNNI"));
  EXPECT_THAT(lines, Contains("OPENBLAS_CORETYPE=SkylakeX"));
  EXPECT_THAT(lines, Contains("MKL_CBWR=AVX512"));
}

// Otherwise what multiplies bytes would never run, and nothing would tell.
TEST(RunnerEnvironment, TheBestSetHasVnniWhereTheCpuDoes) {
  std::ifstream file("/proc/cpuinfo");
  std::set<std::string> flags;
  for (std::string line; std::getline(file, line);) {
    if (!absl::StartsWith(line, "flags")) continue;
    for (absl::string_view flag : absl::StrSplit(line, ' ')) {
      flags.emplace(flag);
    }
    break;
  }
  const bool avx512 = flags.contains("avx512f") && flags.contains("avx512bw") &&
                      flags.contains("avx512dq") && flags.contains("avx512vl");
  const InstructionSet best = BestInstructionSet();
  EXPECT_EQ(best >= InstructionSet::kAvx512, avx512);
  EXPECT_EQ(best == InstructionSet::kAvx512Vnni,
            avx512 && flags.contains("avx512_vnni"));
}

TEST(RunnerEnvironment, DoesNotPromiseAvx2WithoutIt) {
  const auto lines = RunnerEnvironment({}, InstructionSet::kBaseline);
  EXPECT_THAT(lines, Contains("ATEN_CPU_CAPABILITY=default"));
  EXPECT_THAT(lines, Contains("ONEDNN_MAX_CPU_ISA=DEFAULT"));
  EXPECT_THAT(lines, Contains("OPENBLAS_CORETYPE=Prescott"));
  EXPECT_THAT(lines, Contains("MKL_CBWR=COMPATIBLE"));
}

}  // namespace
}  // namespace dasm
