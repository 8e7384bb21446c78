#include "client/command/spec_source.h"

#include "client/command/context.h"
#include "common/base/error.h"
#include "common/base/status_macros.h"
#include "common/spec/yaml.h"

namespace dasm {

void SpecSource::AddOptions(CLI::App* verb) {
  verb->add_option("--set", settings,
                   "Set a field on top of the file, e.g. "
                   "matching.gradient.inits=8 (may be given often)")
      ->type_name("KEY=VALUE")
      ->expected(1)
      ->take_all();
  verb->add_option("--preset", preset, "Start from a preset: dasmctl presets");
  verb->add_option("--name", name, "Name for people");
}

absl::StatusOr<v1::JobSpec> SpecSource::Load() const {
  v1::JobSpec spec;
  if (!file.empty()) {
    DASM_ASSIGN_OR_RETURN(const std::string text, ReadSpecText(file));
    auto parsed = ParseJobFile(text);
    if (!parsed.ok()) return parsed.status();
    spec = *std::move(parsed);
  } else if (preset.empty()) {
    return InvalidField("file", "a job file or --preset is needed");
  }
  if (!preset.empty()) spec.set_preset(preset);
  for (const std::string& setting : settings) {
    DASM_RETURN_IF_ERROR(ApplySetting(setting, &spec));
  }
  if (!name.empty()) spec.set_name(name);
  return spec;
}

}  // namespace dasm
