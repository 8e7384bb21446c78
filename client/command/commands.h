// dasmctl's verbs: each function adds one to the command line, in a file of the
// verb's name.
#ifndef DASM_CLIENT_COMMAND_COMMANDS_H_
#define DASM_CLIENT_COMMAND_COMMANDS_H_

#include "CLI/CLI.hpp"
#include "client/command/context.h"

namespace dasm {

void AddRun(CLI::App* app, Context* context);
void AddSubmit(CLI::App* app, Context* context);
void AddExplain(CLI::App* app, Context* context);
void AddPresets(CLI::App* app, Context* context);
void AddList(CLI::App* app, Context* context);
void AddGet(CLI::App* app, Context* context);
void AddDescribe(CLI::App* app, Context* context);
void AddWatch(CLI::App* app, Context* context);
void AddWait(CLI::App* app, Context* context);
void AddLogs(CLI::App* app, Context* context);
void AddMetrics(CLI::App* app, Context* context);
void AddCancel(CLI::App* app, Context* context);
void AddDownload(CLI::App* app, Context* context);
void AddVerify(CLI::App* app, Context* context);
void AddExpert(CLI::App* app, Context* context);
void AddWorkers(CLI::App* app, Context* context);
void AddDrain(CLI::App* app, Context* context);
void AddVersion(CLI::App* app, Context* context);
void AddCompletion(CLI::App* app, Context* context);

}  // namespace dasm

#endif  // DASM_CLIENT_COMMAND_COMMANDS_H_
