// libFuzzer: no job file may crash the YAML reader or the validation, and what
// was read is written as YAML that reads as the same.
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "common/spec/job_spec_proto.h"
#include "common/spec/yaml.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto spec = dasm::ParseJobFile(
      std::string_view(reinterpret_cast<const char*>(data), size));
  if (!spec.ok()) return 0;
  const auto again = dasm::ParseJobFile(dasm::ToYaml(*spec));
  // An empty spec is written as an empty file, which is no job file.
  if (spec->ByteSizeLong() > 0 &&
      (!again.ok() ||
       again->SerializeAsString() != spec->SerializeAsString())) {
    std::abort();
  }
  const auto expanded = dasm::ExpandSpec(*spec);
  if (!expanded.ok()) return 0;
  // What is valid stays so, and expands to itself.
  const auto twice = dasm::ExpandSpec(expanded->proto);
  if (!twice.ok() ||
      twice->proto.SerializeAsString() != expanded->proto.SerializeAsString()) {
    std::abort();
  }
  return 0;
}
