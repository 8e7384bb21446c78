#include "worker/agent/runner_environment.h"

#include <map>
#include <utility>

#include "absl/strings/str_cat.h"

namespace dasm {

namespace {

struct Pins {
  const char* onednn;
  const char* aten;
  const char* mkl;
  const char* openblas;
};

Pins PinsOf(InstructionSet instructions) {
  switch (instructions) {
    case InstructionSet::kBaseline:
      return {"DEFAULT", "default", "COMPATIBLE", "Prescott"};
    case InstructionSet::kAvx2:
      return {"AVX2", "avx2", "AVX2", "Haswell"};
    case InstructionSet::kAvx512:
      return {"AVX512_CORE", "avx512", "AVX512", "SkylakeX"};
    case InstructionSet::kAvx512Vnni:
      return {"AVX512_CORE_VNNI", "avx512", "AVX512", "SkylakeX"};
  }
  return {"DEFAULT", "default", "COMPATIBLE", "Prescott"};
}

}  // namespace

InstructionSet BestInstructionSet() {
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
      __builtin_cpu_supports("avx512dq") &&
      __builtin_cpu_supports("avx512vl")) {
    return __builtin_cpu_supports("avx512vnni") ? InstructionSet::kAvx512Vnni
                                                : InstructionSet::kAvx512;
  }
  return __builtin_cpu_supports("avx2") ? InstructionSet::kAvx2
                                        : InstructionSet::kBaseline;
}

std::vector<std::string> RunnerEnvironment(
    const std::vector<std::string>& inherited, InstructionSet instructions) {
  std::map<std::string, std::string> values;
  for (const std::string& line : inherited) {
    const size_t equals = line.find('=');
    if (equals == std::string::npos) continue;
    values[line.substr(0, equals)] = line.substr(equals + 1);
  }
  values["OMP_NUM_THREADS"] = "1";
  values["OMP_WAIT_POLICY"] = "PASSIVE";
  values["GOMP_SPINCOUNT"] = "10000";
  values["MKL_NUM_THREADS"] = "1";
  const Pins pins = PinsOf(instructions);
  values["ONEDNN_MAX_CPU_ISA"] = pins.onednn;
  values["ATEN_CPU_CAPABILITY"] = pins.aten;
  values["MKL_CBWR"] = pins.mkl;
  values["OPENBLAS_CORETYPE"] = pins.openblas;
  values["GLIBC_TUNABLES"] = "glibc.malloc.hugetlb=1";
  std::vector<std::string> lines;
  lines.reserve(values.size());
  for (const auto& [name, value] : values) {
    lines.push_back(absl::StrCat(name, "=", value));
  }
  return lines;
}

}  // namespace dasm
