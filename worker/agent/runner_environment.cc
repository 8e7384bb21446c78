#include "worker/agent/runner_environment.h"

#include <map>
#include <utility>

#include "absl/strings/str_cat.h"

namespace dasm {

std::vector<std::string> RunnerEnvironment(
    const std::vector<std::string>& inherited, bool cpu_has_avx2) {
  std::map<std::string, std::string> values;
  for (const std::string& line : inherited) {
    const size_t equals = line.find('=');
    if (equals == std::string::npos) continue;
    values[line.substr(0, equals)] = line.substr(equals + 1);
  }
  values["OMP_NUM_THREADS"] = "1";
  values["OMP_WAIT_POLICY"] = "PASSIVE";
  values["MKL_NUM_THREADS"] = "1";
  values["ONEDNN_MAX_CPU_ISA"] = cpu_has_avx2 ? "AVX2" : "DEFAULT";
  values["ATEN_CPU_CAPABILITY"] = cpu_has_avx2 ? "avx2" : "default";
  values["MKL_CBWR"] = cpu_has_avx2 ? "AVX2" : "COMPATIBLE";
  values["GLIBC_TUNABLES"] = "glibc.malloc.hugetlb=1";
  std::vector<std::string> lines;
  lines.reserve(values.size());
  for (const auto& [name, value] : values) {
    lines.push_back(absl::StrCat(name, "=", value));
  }
  return lines;
}

}  // namespace dasm
