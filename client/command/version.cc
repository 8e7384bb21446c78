// dasmctl version and completion.
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
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

// A verb and the long options behind it, as the command line defines them.
struct Words {
  std::string verb;
  std::string help;
  std::vector<const CLI::Option*> options;
  std::vector<std::string> verbs;  // of a noun, e.g. expert: list, describe
};

std::vector<Words> VerbsOf(const CLI::App& app) {
  std::vector<Words> all;
  for (const CLI::App* verb :
       app.get_subcommands([](const CLI::App*) { return true; })) {
    all.push_back(
        {verb->get_name(), verb->get_description(), verb->get_options(), {}});
    for (const CLI::App* nested :
         verb->get_subcommands([](const CLI::App*) { return true; })) {
      all.back().verbs.push_back(nested->get_name());
      for (const CLI::Option* option : nested->get_options()) {
        if (!option->check_name("--help")) {
          all.back().options.push_back(option);
        }
      }
    }
    // Global ones are accepted behind a verb too.
    for (const CLI::Option* option : app.get_options()) {
      if (!option->check_name("--help")) all.back().options.push_back(option);
    }
  }
  return all;
}

std::string Flags(const std::vector<const CLI::Option*>& options) {
  std::vector<std::string> flags;
  for (const CLI::Option* option : options) {
    for (const std::string& name : option->get_lnames()) {
      flags.push_back(absl::StrCat("--", name));
    }
    if (option->get_lnames().empty() && !option->get_snames().empty()) {
      flags.push_back(absl::StrCat("-", option->get_snames().front()));
    }
  }
  return absl::StrJoin(flags, " ");
}

// bash, and zsh through its bashcompinit. A verb is recognised by its name and
// not by its place: bash splits an address at its colon.
std::string BashCompletion(const CLI::App& app) {
  std::vector<std::string> verbs;
  std::string cases;
  for (const Words& words : VerbsOf(app)) {
    verbs.push_back(words.verb);
    absl::StrAppend(&cases, "    ", words.verb, ") words=\"",
                    absl::StrJoin(words.verbs, " "),
                    words.verbs.empty() ? "" : " ", Flags(words.options),
                    "\" ;;\n");
  }
  return absl::StrCat(
      "_dasmctl() {\n"
      "  local verb= words i\n"
      "  for ((i = 1; i < COMP_CWORD; i++)); do\n"
      "    case ${COMP_WORDS[i]} in\n      ",
      absl::StrJoin(verbs, "|"),
      ") verb=${COMP_WORDS[i]}; break ;;\n"
      "    esac\n"
      "  done\n"
      "  case $verb in\n",
      cases, "    *) words=\"", absl::StrJoin(verbs, " "), " ",
      Flags(app.get_options()),
      "\" ;;\n"
      "  esac\n"
      "  case ${COMP_WORDS[COMP_CWORD-1]} in\n"
      "    -o) words=\"table json yaml name\" ;;\n"
      "    completion) words=\"bash zsh fish\" ;;\n"
      "  esac\n"
      "  COMPREPLY=($(compgen -W \"$words\" -- "
      "\"${COMP_WORDS[COMP_CWORD]}\"))\n"
      "}\n"
      "complete -o default -F _dasmctl dasmctl\n");
}

std::string FishQuoted(absl::string_view text) {
  return absl::StrCat(
      "'", absl::StrReplaceAll(text, {{"\\", "\\\\"}, {"'", "\\'"}}), "'");
}

std::string FishCompletion(const CLI::App& app) {
  std::string script;
  for (const Words& words : VerbsOf(app)) {
    absl::StrAppend(&script, "complete -c dasmctl -n __fish_use_subcommand -a ",
                    words.verb, " -d ", FishQuoted(words.help), "\n");
    if (!words.verbs.empty()) {
      absl::StrAppend(&script, "complete -c dasmctl -n ",
                      "'__fish_seen_subcommand_from ", words.verb, "' -a '",
                      absl::StrJoin(words.verbs, " "), "'\n");
    }
    for (const CLI::Option* option : words.options) {
      for (const std::string& name : option->get_lnames()) {
        absl::StrAppend(&script, "complete -c dasmctl -n ",
                        "'__fish_seen_subcommand_from ", words.verb, "' -l ",
                        name, option->get_items_expected_max() > 0 ? " -r" : "",
                        " -d ", FishQuoted(option->get_description()), "\n");
      }
    }
  }
  return absl::StrCat(script,
                      "complete -c dasmctl -s o -x -a 'table json yaml name'\n"
                      "complete -c dasmctl -n "
                      "'__fish_seen_subcommand_from completion' -x "
                      "-a 'bash zsh fish'\n");
}

std::string Completion(const CLI::App& app, const std::string& shell) {
  if (shell == "fish") return FishCompletion(app);
  if (shell == "bash") return BashCompletion(app);
  return absl::StrCat("autoload -U +X bashcompinit && bashcompinit\n",
                      BashCompletion(app));
}

}  // namespace

void AddVersion(CLI::App* app, Context* context) {
  CLI::App* verb =
      app->add_subcommand("version", "Show versions of client and server");
  verb->footer("Example: dasmctl --coordinator 127.0.0.1:7070 version");
  context->Bind(verb, [=] { return Version(context); });
}

void AddCompletion(CLI::App* app, Context* context) {
  auto shell = std::make_shared<std::string>();
  CLI::App* verb = app->add_subcommand(
      "completion",
      "Print a completion script: source <(dasmctl completion "
      "bash)");
  verb->footer(
      "Example: dasmctl completion bash > "
      "~/.local/share/bash-completion/completions/dasmctl");
  verb->add_option("shell", *shell, "bash, zsh or fish")
      ->required()
      ->check(CLI::IsMember({"bash", "zsh", "fish"}));
  context->Bind(verb, [=]() -> absl::StatusOr<int> {
    *context->out << Completion(*app, *shell);
    return kExitOk;
  });
}

}  // namespace dasm
