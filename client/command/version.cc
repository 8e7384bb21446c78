// dasmctl version and completion.
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "client/command/commands.h"
#include "client/command/exit_code.h"
#include "common/base/error.h"
#include "common/base/status_macros.h"
#include "common/rpc/protocol.h"

namespace dasm {
namespace {

absl::StatusOr<int> Version(Context* context) {
  *context->out << "client " << DASM_VERSION << " (protocol " << kProtocol
                << ")\n";
  if (context->coordinator.empty()) return kExitOk;
  DASM_ASSIGN_OR_RETURN(Stubs * stubs, context->Connect());
  DASM_ASSIGN_OR_RETURN(const v1::ServerInfo info,
                        Call(*context, stubs->cluster.get(),
                             &v1::ClusterService::Stub::GetServerInfo,
                             v1::GetServerInfoRequest()));
  *context->out << "server " << info.version() << " (protocol "
                << info.protocol() << ")\n";
  if (info.protocol() < kProtocol) {
    *context->out << "the server is older: upgrade it before the clients\n";
  } else if (info.protocol() > kProtocol + 1) {
    *context->out << "the client is more than one protocol older: upgrade it\n";
  }
  return kExitOk;
}

// Words after `dasmctl`, and after each verb, taken from the command line's
// own definition.
std::string Completion(const CLI::App& app, const std::string& shell) {
  std::vector<std::string> verbs;
  std::string cases;
  for (const CLI::App* verb :
       app.get_subcommands([](const CLI::App*) { return true; })) {
    verbs.push_back(verb->get_name());
    std::vector<std::string> options;
    for (const CLI::Option* option : verb->get_options()) {
      for (const std::string& name : option->get_lnames()) {
        options.push_back(absl::StrCat("--", name));
      }
    }
    absl::StrAppend(&cases, "    ", verb->get_name(), ") words=\"",
                    absl::StrJoin(options, " "), "\" ;;\n");
  }
  std::string script;
  if (shell == "zsh") {
    script = "autoload -U +X bashcompinit && bashcompinit\n";
  }
  absl::StrAppend(
      &script, "_dasmctl() {\n  local verb words i\n",
      "  for ((i = 1; i < COMP_CWORD; i++)); do\n",
      "    case ${COMP_WORDS[i]} in -*) ;; *) verb=${COMP_WORDS[i]}; break ;; "
      "esac\n  done\n  case $verb in\n",
      cases, "    *) words=\"", absl::StrJoin(verbs, " "), "\" ;;\n  esac\n",
      "  COMPREPLY=($(compgen -W \"$words\" -- "
      "\"${COMP_WORDS[COMP_CWORD]}\"))\n"
      "}\ncomplete -o default -F _dasmctl dasmctl\n");
  return script;
}

}  // namespace

void AddVersion(CLI::App* app, Context* context) {
  CLI::App* verb =
      app->add_subcommand("version", "Show versions of client and server");
  context->Bind(verb, [=] { return Version(context); });
}

void AddCompletion(CLI::App* app, Context* context) {
  auto shell = std::make_shared<std::string>();
  CLI::App* verb = app->add_subcommand(
      "completion",
      "Print a completion script: source <(dasmctl completion "
      "bash)");
  verb->add_option("shell", *shell, "bash or zsh")
      ->required()
      ->check(CLI::IsMember({"bash", "zsh"}));
  context->Bind(verb, [=]() -> absl::StatusOr<int> {
    *context->out << Completion(*app, *shell);
    return kExitOk;
  });
}

}  // namespace dasm
