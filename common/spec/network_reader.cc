#include "common/spec/network_reader.h"

#include <algorithm>
#include <optional>
#include <set>
#include <string_view>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "common/base/error.h"
#include "common/spec/nearest.h"
#include "common/spec/spec_enums.h"

namespace dasm {
namespace {

struct KnownNetwork {
  std::string_view name;
  bool normed = false;    // instance or batch; else none
  bool distills = false;  // trajectories; convnet also gradients
};

constexpr KnownNetwork kNetworks[] = {{"convnet", true, true},
                                      {"mlp"},
                                      {"lenet"},
                                      {"alexnet"},
                                      {"vgg11", true},
                                      {"resnet18", true, true},
                                      {"resnet18-ap", true, false}};

const KnownNetwork* Find(std::string_view name) {
  for (const KnownNetwork& network : kNetworks) {
    if (network.name == name) return &network;
  }
  return nullptr;
}

std::string Member(const std::string& path, const char* member) {
  return absl::StrCat(path, ".", member);
}

void CheckNetwork(const NetworkSpec& network, const std::string& field,
                  FieldReader* reader) {
  const KnownNetwork* known = Find(network.name);
  if (known == nullptr) {
    std::vector<std::string> names;
    for (const KnownNetwork& n : kNetworks) names.emplace_back(n.name);
    reader->Refuse(Member(field, "name"),
                   absl::StrCat("there is no network \"", network.name,
                                "\"; known are ", absl::StrJoin(names, ", "),
                                DidYouMean(network.name, names)));
    return;
  }
  if (network.name == "convnet") {
    reader->Within(Member(field, "depth"), network.depth, 1, 8);
    reader->Within(Member(field, "width"), network.width, 1, 1024);
    return;
  }
  if (!known->normed && network.norm != Norm::kNone) {
    reader->Refuse(Member(field, "norm"),
                   absl::StrCat(network.name, " has no norm: use none, or ",
                                "leave it out"));
  }
  if (known->normed && network.norm == Norm::kNone) {
    reader->Refuse(
        Member(field, "norm"),
        absl::StrCat(network.name, " needs a norm: use instance or batch"));
  }
}

// Of another network than convnet, whose norm is not said.
Norm UsualNorm(std::string_view name) {
  const KnownNetwork* known = Find(name);
  return known != nullptr && !known->normed ? Norm::kNone : Norm::kInstance;
}

// False for a part that is none, or the second of its kind.
bool ReadParts(const std::string& text, NetworkSpec* network) {
  std::set<char> seen;
  const std::vector<std::string> parts = absl::StrSplit(text, '-');
  for (const std::string& part : parts) {
    int number = 0;
    const bool numbered =
        part.size() > 1 &&
        part.find_first_not_of("0123456789", 1) == std::string::npos &&
        absl::SimpleAtoi(part.substr(1), &number);
    char what = 0;
    if (numbered && part[0] == 'd' && network->name == "convnet") {
      network->depth = number;
      what = 'd';
    } else if (numbered && part[0] == 'w' && network->name == "convnet") {
      network->width = number;
      what = 'w';
    } else {
      const nlohmann::json name = part;
      network->norm = name.get<Norm>();
      // An unknown name reads as the first value.
      if (nlohmann::json(network->norm) != name) return false;
      what = 'n';
    }
    if (!seen.insert(what).second) return false;
  }
  return true;
}

}  // namespace

NetworkSpec ReadNetwork(const v1::NetworkSpec& given,
                        const v1::NetworkSpec& from, FieldReader* reader) {
  NetworkSpec to;
  to.name = from.name();
  if (to.name == "convnet") {
    to.depth = from.depth();
    to.width = from.width();
    to.norm = FromProto(from.norm());
  } else {
    to.depth = 0;
    to.width = 0;
    to.norm = given.has_norm() ? FromProto(given.norm()) : UsualNorm(to.name);
    const auto refuse = [&](const char* field) {
      reader->Refuse(field, absl::StrCat("is convnet's alone, but the network ",
                                         "is ", to.name, ": leave it out"));
    };
    if (Find(to.name) != nullptr && given.depth() != 0) refuse("network.depth");
    if (Find(to.name) != nullptr && given.width() != 0) refuse("network.width");
  }
  CheckNetwork(to, "network", reader);
  return to;
}

NetworkSpec ReadNetworkName(const std::string& text, const NetworkSpec& job,
                            const std::string& field, FieldReader* reader) {
  // The longest known name that `text` begins with; else its first part.
  std::string name(text.substr(0, text.find('-')));
  for (const KnownNetwork& known : kNetworks) {
    const bool begins =
        text == known.name ||
        text.starts_with(absl::StrCat(std::string(known.name), "-"));
    if (begins && known.name.size() > name.size()) {
      name = std::string(known.name);
    }
  }
  NetworkSpec network = job;
  if (name != job.name) {
    network = NetworkSpec();
    network.name = name;
    if (name != "convnet") {
      network.depth = 0;
      network.width = 0;
      network.norm = UsualNorm(name);
    }
  }
  if (text.size() > name.size() &&
      !ReadParts(text.substr(name.size() + 1), &network)) {
    reader->Refuse(field,
                   absl::StrCat("\"", text,
                                "\" is not a network: write a name, e.g. "
                                "convnet or resnet18-batch, or e.g. "
                                "convnet-d3-w128-instance"));
    return network;
  }
  CheckNetwork(network, field, reader);
  return network;
}

void CheckDistills(const NetworkSpec& network, bool trajectories,
                   FieldReader* reader) {
  const KnownNetwork* known = Find(network.name);
  if (known == nullptr || network.name == "convnet" ||
      (trajectories && known->distills)) {
    return;
  }
  reader->Refuse(
      "network.name",
      absl::StrCat(network.name,
                   trajectories
                       ? " is for evaluation alone: distil with convnet or "
                         "resnet18"
                       : " does not match gradients: distil with convnet",
                   ", and list it in evaluation.networks"));
}

absl::Status CheckImageSide(const NetworkSpec& network,
                            const std::string& field, int side, int channels) {
  if (side <= 0) return absl::OkStatus();
  // Networks show 28 x 28 pixels of one channel as 32 x 32.
  const int input = channels == 1 && side == 28 ? 32 : side;
  if (network.name == "convnet") {
    if (input >> network.depth >= 1) return absl::OkStatus();
    return InvalidField(
        field.empty() ? "network.depth" : field,
        absl::StrCat("a depth of ", network.depth, " halves images of ", side,
                     " pixels to nothing: use less"));
  }
  // MTT's evaluation networks; resnet18-ap has no form for 64 pixels.
  const bool takes_64 = network.name != "resnet18-ap";
  if (network.name == "mlp" || input == 32 || (takes_64 && input == 64)) {
    return absl::OkStatus();
  }
  return InvalidField(
      field.empty() ? "network.name" : field,
      absl::StrCat(network.name, " is made for images of ",
                   takes_64 ? "32 or 64" : "32",
                   " pixels (28 grey ones count as 32), not of ", side,
                   ": use convnet or mlp"));
}

}  // namespace dasm
