#include "worker/runner/gang.h"

#include <algorithm>
#include <fstream>
#include <map>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/base/error.h"
#include "common/base/status_macros.h"
#include "worker/collective/thread_collective.h"

namespace dasm {
namespace {

using worker::v1::GangMember;
using worker::v1::GangReady;
using worker::v1::TaskFile;

// One value for all containers of a machine, another for every machine.
std::string MachineId() {
  std::ifstream file("/proc/sys/kernel/random/boot_id");
  std::string id;
  std::getline(file, id);
  return id;
}

absl::StatusOr<std::vector<ProcessGang::Member>> MembersOf(
    const GangReady& ready, int ranks) {
  std::vector<ProcessGang::Member> members;
  for (const GangMember& member : ready.members()) {
    if (member.rank() != static_cast<int>(members.size())) break;
    members.push_back({member.endpoint(), std::max(1, member.threads())});
  }
  if (static_cast<int>(members.size()) != ranks ||
      ready.members_size() != ranks) {
    return absl::InternalError(
        absl::StrCat("a gang of ", ranks, " was told of ", ready.members_size(),
                     " members, or not in the order of their ranks"));
  }
  return members;
}

// "cuda" of "<machine>/cuda:0"; "cpu" where a rank has no device.
std::string DeviceKindOf(const GangMember& member) {
  if (member.device().empty()) return "cpu";
  const std::string device =
      member.device().substr(member.device().rfind('/') + 1);
  return device.substr(0, device.find(':'));
}

// Ranks on devices meet by their plug-in, those on CPUs over the network: each
// kind would wait for the other until its deadline. All ranks see the same
// members, so all of them end with the same words.
absl::Status CheckDeviceKinds(const GangReady& ready) {
  std::map<std::string, std::vector<std::string>> kinds;
  for (const GangMember& member : ready.members()) {
    kinds[DeviceKindOf(member)].push_back(
        absl::StrCat("rank ", member.rank(), " at ", member.endpoint()));
  }
  if (kinds.size() <= 1) return absl::OkStatus();
  std::vector<std::string> parts;
  for (const auto& [kind, ranks] : kinds) {
    parts.push_back(absl::StrCat(absl::StrJoin(ranks, ", "), " on ", kind));
  }
  return WithFailureClass(
      WithReason(
          absl::FailedPreconditionError(absl::StrCat(
              "the ranks of the gang compute on devices of several kinds (",
              absl::StrJoin(parts, "; "),
              "), which cannot meet: start the workers of these addresses "
              "with the same --device, or ask for fewer resources.ranks")),
          "RANKS_ON_SEVERAL_DEVICE_KINDS", "resources.ranks"),
      FailureClass::kSpec);
}

}  // namespace

absl::StatusOr<Gang> FormGang(
    const TaskFile& task, AgentChannel* agent, const DeviceGang& devices,
    const std::function<void(const absl::Status& cause)>& on_stuck) {
  Gang gang;
  const int threads = std::max(1, task.threads());
  if (task.ranks() <= 1) {
    DASM_ASSIGN_OR_RETURN(
        gang.ranks,
        ThreadGang::Create(threads, /*timeout=*/absl::ZeroDuration()));
    return gang;
  }
  ProcessGang::Options options;
  options.fence = task.fence();
  if (!task.reduction().empty()) {
    DASM_ASSIGN_OR_RETURN(options.reduction, ParseReduction(task.reduction()));
  }
  if (task.collective_deadline_seconds() > 0) {
    options.minimum_deadline =
        absl::Seconds(task.collective_deadline_seconds());
    options.join_timeout = options.minimum_deadline;
  }
  auto network = ProcessGang::Listen(task.gang_listen());
  if (!network.ok()) {
    return WithFailureClass(
        WithContext(
            network.status(),
            absl::StrCat("the gang cannot listen at ", task.gang_listen(),
                         ", the worker's --gang-address")),
        FailureClass::kCollective);
  }
  gang.network = *std::move(network);

  worker::v1::RunnerMessage message;
  GangMember* self = message.mutable_gang_endpoint()->mutable_member();
  self->set_rank(task.rank());
  self->set_endpoint(gang.network->endpoint());
  self->set_threads(threads);
  if (task.device() != "cpu") {
    self->set_device(absl::StrCat(MachineId(), "/", task.device()));
    gang.of_devices = devices.join != nullptr;
  }
  if (gang.of_devices && task.rank() == 0) {
    DASM_ASSIGN_OR_RETURN(*self->mutable_device_id(), devices.new_id());
  }
  agent->Send(std::move(message));
  DASM_ASSIGN_OR_RETURN(const GangReady ready, agent->AwaitGang());
  DASM_ASSIGN_OR_RETURN(const std::vector<ProcessGang::Member> members,
                        MembersOf(ready, task.ranks()));
  DASM_RETURN_IF_ERROR(CheckDeviceKinds(ready));
  if (gang.of_devices) {
    DASM_ASSIGN_OR_RETURN(
        std::unique_ptr<Collective> rank,
        devices.join({.device = task.device(),
                      .rank = task.rank(),
                      .ranks = task.ranks(),
                      .id = ready.members(0).device_id(),
                      .ordered = options.reduction == Reduction::kOrdered,
                      .deadline = options.minimum_deadline,
                      .on_stuck = on_stuck}));
    gang.ranks.push_back(std::move(rank));
    return gang;
  }
  DASM_ASSIGN_OR_RETURN(gang.ranks,
                        gang.network->Join(task.rank(), members, ready.secret(),
                                           std::move(options)));
  return gang;
}

}  // namespace dasm
