// dasmctl: the command line of DASM.
#include <unistd.h>

#include <cstdlib>
#include <iostream>

#include "client/command/commands.h"
#include "client/command/exit_code.h"
#include "common/base/error.h"
#include "common/base/logging.h"

int main(int argc, char** argv) {
  using namespace dasm;
  InitLogging("dasmctl", LogSeverity::WARNING);
  Context context;
  context.out = &std::cout;
  context.talk = &std::cerr;
  const char* term = std::getenv("TERM");
  context.terminal = isatty(STDERR_FILENO) && isatty(STDOUT_FILENO) &&
                     term != nullptr && std::string(term) != "dumb";
  if (const char* address = std::getenv("DASM_COORDINATOR")) {
    context.coordinator = address;
  }

  CLI::App app(
      "Distils data sets.\n"
      "  dasmctl run examples/quickstart.yaml --output out   # no server\n"
      "  dasmctl --coordinator HOST:PORT submit job.yaml --wait");
  app.name("dasmctl");
  app.require_subcommand(1);
  // Global options are accepted behind the verb too.
  app.fallthrough();
  app.add_option("--coordinator", context.coordinator,
                 "Server: host:port or unix:PATH (or DASM_COORDINATOR)")
      ->type_name("ADDR");
  app.add_option("-o", context.output, "Output: table, json, yaml or name");
  AddRun(&app, &context);
  AddSubmit(&app, &context);
  AddExplain(&app, &context);
  AddPresets(&app, &context);
  AddList(&app, &context);
  AddGet(&app, &context);
  AddDescribe(&app, &context);
  AddWatch(&app, &context);
  AddWait(&app, &context);
  AddLogs(&app, &context);
  AddMetrics(&app, &context);
  AddCancel(&app, &context);
  AddDownload(&app, &context);
  AddVerify(&app, &context);
  AddExpert(&app, &context);
  AddWorkers(&app, &context);
  AddDrain(&app, &context);
  AddVersion(&app, &context);
  AddCompletion(&app, &context);
  try {
    app.parse(argc, argv);
  } catch (const CLI::CallForHelp& help) {
    return app.exit(help);
  } catch (const CLI::CallForAllHelp& help) {
    return app.exit(help);
  } catch (const CLI::ParseError& error) {
    // A misspelt verb is an argument nobody wants.
    const std::vector<std::string> left = app.remaining();
    if (app.get_subcommands().empty() && !left.empty()) {
      std::cerr << "error: \"" << left.front() << "\" is not a verb of dasmctl";
    } else {
      std::cerr << "error: " << error.what();
    }
    std::cerr << "; see dasmctl --help\n";
    return kExitUsage;
  }
  const absl::StatusOr<int> code = context.action()();
  std::cout.flush();
  if (code.ok()) return *code;
  std::cerr << ErrorLine(code.status()) << "\n";
  return ExitCodeOf(code.status());
}
