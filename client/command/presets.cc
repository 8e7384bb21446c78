// dasmctl presets: the published rows that a job file can start from.
#include <memory>

#include "client/command/commands.h"
#include "client/command/exit_code.h"
#include "common/base/status_macros.h"
#include "common/spec/preset.h"
#include "common/spec/yaml.h"

namespace dasm {
namespace {

absl::StatusOr<int> Presets(Context* context, const std::string& name) {
  DASM_ASSIGN_OR_RETURN(const OutputFormat format, context->format());
  if (!name.empty()) {
    DASM_ASSIGN_OR_RETURN(const v1::JobSpec spec, FindPreset(name));
    if (format == OutputFormat::kJson) {
      *context->out << JsonText(spec) << "\n";
    } else {
      *context->out << ToYaml(spec);
    }
    return kExitOk;
  }
  v1::ListPresetsResponse response;
  for (const PresetInfo& info : AllPresets()) {
    v1::Preset* preset = response.add_presets();
    preset->set_name(info.name);
    preset->set_summary(info.summary);
    preset->set_source(info.source);
  }
  WriteMessage(
      response, format, context->out,
      [&] {
        Table table({"PRESET", "SUMMARY", "SOURCE"});
        for (const v1::Preset& preset : response.presets()) {
          table.Add({preset.name(), preset.summary(), preset.source()});
        }
        *context->out << table.ToString();
      },
      [&] {
        for (const v1::Preset& preset : response.presets()) {
          *context->out << preset.name() << "\n";
        }
      });
  return kExitOk;
}

}  // namespace

void AddPresets(CLI::App* app, Context* context) {
  auto name = std::make_shared<std::string>();
  CLI::App* verb = app->add_subcommand(
      "presets", "List the presets, or show one as a job file");
  verb->footer(
      "Example: dasmctl presets dasm-idc/fashion-mnist/ipc10/quick > job.yaml");
  verb->add_option("name", *name, "Show this one");
  context->Bind(verb, [=] { return Presets(context, *name); });
}

}  // namespace dasm
