// The spec options that run, submit and explain share: FILE, --set, --name.
#ifndef DASM_CLIENT_COMMAND_SPEC_SOURCE_H_
#define DASM_CLIENT_COMMAND_SPEC_SOURCE_H_

#include <string>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/status/statusor.h"
#include "dasm/v1/job.pb.h"

namespace dasm {

struct SpecSource {
  std::string file;
  std::string preset;
  std::vector<std::string> settings;
  std::string name;

  // --set, --preset and --name; the caller adds FILE its own way.
  void AddOptions(CLI::App* verb);
  // INVALID_ARGUMENT with field path and line.
  absl::StatusOr<v1::JobSpec> Load() const;
};

}  // namespace dasm

#endif  // DASM_CLIENT_COMMAND_SPEC_SOURCE_H_
