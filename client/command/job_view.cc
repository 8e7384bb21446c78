#include "client/command/job_view.h"

#include <algorithm>
#include <map>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/strip.h"
#include "absl/time/clock.h"
#include "client/command/task_groups.h"
#include "common/base/status_macros.h"

namespace dasm {
namespace {

std::string Progress(const v1::Task& task) {
  const v1::Progress& progress = task.progress();
  if (progress.total_steps() == 0) return "";
  std::string text = absl::StrCat(progress.step(), "/", progress.total_steps());
  if (!progress.series().empty()) {
    absl::StrAppend(&text, " ", progress.series(), " ", progress.value());
  }
  return text;
}

// Where the ranks of running gangs are.
std::string Gangs(const v1::Job& job) {
  std::string text;
  for (const v1::Task& task : job.tasks()) {
    if (task.gang().empty()) continue;
    const int wanted = job.expanded_spec().resources().ranks();
    absl::StrAppend(
        &text, "\n", LastPart(task.name()), " runs on ", task.gang_size(),
        task.gang_size() < wanted ? absl::StrCat(" of ", wanted, " ranks\n")
                                  : " ranks\n");
    Table table({"RANK", "WORKER", "ENDPOINT"});
    for (const v1::GangRank& member : task.gang()) {
      table.Add(
          {absl::StrCat(member.rank()), member.worker(),
           member.endpoint().empty() ? "not there yet" : member.endpoint()});
    }
    absl::StrAppend(&text, table.ToString());
  }
  return text;
}

// The most that a rank of each task took, beside what was predicted; of like
// tasks the most of any.
std::string MemoryOf(const v1::Job& job, int columns) {
  std::vector<std::string> ids;
  for (const v1::Task& task : job.tasks()) ids.push_back(LastPart(task.name()));
  struct Row {
    v1::RankMemory most;
    int64_t predicted = 0;
  };
  std::vector<std::pair<std::string, Row>> rows;
  bool devices = false;
  for (const TaskGroup& group : GroupTasks(ids)) {
    Row row;
    for (const size_t member : group.members) {
      const v1::Task& task = job.tasks(static_cast<int>(member));
      row.predicted = std::max(row.predicted, task.predicted_memory_bytes());
      for (const v1::RankMemory& rank : task.memory()) {
        row.most.set_host_bytes(
            std::max(row.most.host_bytes(), rank.host_bytes()));
        row.most.set_device_bytes(
            std::max(row.most.device_bytes(), rank.device_bytes()));
        row.most.set_device_reserved_bytes(std::max(
            row.most.device_reserved_bytes(), rank.device_reserved_bytes()));
      }
    }
    if (row.most.host_bytes() == 0) continue;
    devices = devices || row.most.device_reserved_bytes() > 0;
    rows.emplace_back(group.label, std::move(row));
  }
  if (rows.empty()) return "";
  std::vector<std::string> titles = {"TASK", "PREDICTED", "HOST"};
  if (devices) titles.insert(titles.end(), {"DEVICE", "RESERVED"});
  Table table(std::move(titles));
  table.set_flexible("TASK");
  const auto bytes = [](int64_t count) {
    return count > 0 ? HumanBytes(static_cast<double>(count)) : "";
  };
  for (const auto& [label, row] : rows) {
    std::vector<std::string> cells = {label, bytes(row.predicted),
                                      bytes(row.most.host_bytes())};
    if (devices) {
      cells.push_back(bytes(row.most.device_bytes()));
      cells.push_back(bytes(row.most.device_reserved_bytes()));
    }
    table.Add(std::move(cells));
  }
  return absl::StrCat("\nhighest memory of a rank\n", table.ToString(columns));
}

std::string ReasonOfTask(const v1::Task& task) {
  if (task.cached()) return "cached";
  if (!task.failure().message().empty()) {
    return absl::StrCat(task.failure().failure_class(), ": ",
                        task.failure().message());
  }
  if (task.replanned_micro_batch() > 0 && task.pending_reason().empty()) {
    return absl::StrCat("out of memory before, now micro-batches of ",
                        task.replanned_micro_batch());
  }
  return task.pending_reason();
}

std::vector<std::string> RowOf(const v1::Task& task) {
  return {LastPart(task.name()), task.kind(),   StateName(task.state()),
          Progress(task),        task.worker(), ReasonOfTask(task)};
}

// "37/100 done", "2 running, 61 waiting", and what the first of those that do
// not run waits for. One that failed has a row of its own.
void AddGroup(const v1::Job& job, const TaskGroup& group, Table* table) {
  std::map<v1::Task::State, int> states;
  int cached = 0;
  std::string waits_for;
  std::vector<const v1::Task*> failed;
  for (const size_t member : group.members) {
    const v1::Task& task = job.tasks(static_cast<int>(member));
    ++states[task.state()];
    if (task.cached()) ++cached;
    if (waits_for.empty()) waits_for = task.pending_reason();
    if (task.state() == v1::Task::STATE_FAILED) failed.push_back(&task);
  }
  std::vector<std::string> parts;
  for (const auto& [state, title] :
       {std::pair(v1::Task::STATE_RUNNING, "running"),
        {v1::Task::STATE_PENDING, "pending"},
        {v1::Task::STATE_WAITING, "waiting"},
        {v1::Task::STATE_FAILED, "failed"},
        {v1::Task::STATE_CANCELLED, "cancelled"}}) {
    if (states[state] > 0) {
      parts.push_back(absl::StrCat(states[state], " ", title));
    }
  }
  const v1::Task& first = job.tasks(static_cast<int>(group.members.front()));
  const std::string reason =
      cached > 0 ? absl::StrCat(cached, " cached") : waits_for;
  table->Add({group.label, first.kind(),
              absl::StrCat(states[v1::Task::STATE_SUCCEEDED], "/",
                           group.members.size(), " done"),
              absl::StrJoin(parts, ", "), "", reason});
  for (const v1::Task* task : failed) table->Add(RowOf(*task));
}

std::string TasksOf(const v1::Job& job, int columns) {
  std::vector<std::string> ids;
  for (const v1::Task& task : job.tasks()) ids.push_back(LastPart(task.name()));
  Table table({"TASK", "KIND", "STATE", "PROGRESS", "WORKER", "REASON"});
  table.set_flexible("REASON");
  for (const TaskGroup& group : GroupTasks(ids)) {
    if (group.members.size() > 1) {
      AddGroup(job, group, &table);
      continue;
    }
    std::vector<std::string> row =
        RowOf(job.tasks(static_cast<int>(group.members.front())));
    if (columns > 0) row[0] = ElideMiddle(row[0], std::max(24, columns / 3));
    table.Add(std::move(row));
  }
  return table.ToString(columns);
}

}  // namespace

absl::Time ToTime(const google::protobuf::Timestamp& time) {
  return absl::FromUnixSeconds(time.seconds()) +
         absl::Nanoseconds(time.nanos());
}

std::string StateName(v1::Job::State state) {
  return std::string(absl::StripPrefix(v1::Job::State_Name(state), "STATE_"));
}

std::string StateName(v1::Task::State state) {
  return std::string(absl::StripPrefix(v1::Task::State_Name(state), "STATE_"));
}

std::string ShortName(const std::string& name) {
  return std::string(absl::StripPrefix(name, "projects/default/"));
}

std::string LastPart(const std::string& name) {
  return name.substr(name.rfind('/') + 1);
}

absl::Duration Elapsed(const v1::Job& job, absl::Time now) {
  if (!job.has_start_time()) return absl::ZeroDuration();
  return (job.has_end_time() ? ToTime(job.end_time()) : now) -
         ToTime(job.start_time());
}

absl::Status PrintJob(Context* context, const v1::Job& job) {
  DASM_ASSIGN_OR_RETURN(const OutputFormat format, context->format());
  WriteMessage(
      job, format, context->out,
      [&] {
        *context->out << DescribeJob(job, absl::Now(), context->columns());
      },
      [&] { *context->out << ShortName(job.name()) << "\n"; });
  return absl::OkStatus();
}

std::string DescribeJob(const v1::Job& job, absl::Time now, int columns) {
  std::string text;
  auto line = [&text](const std::string& key, const std::string& value) {
    if (value.empty()) return;
    absl::StrAppend(&text, key, ":", std::string(15 - key.size(), ' '), value,
                    "\n");
  };
  line("job", ShortName(job.name()));
  line("name", job.spec().name());
  line("method", job.method());
  line("state", StateName(job.state()));
  line("failure",
       job.failure().failure_class().empty()
           ? ""
           : absl::StrCat(job.failure().failure_class(), " in ",
                          job.failure().task(), ": ", job.failure().message()));
  line("data set", job.expanded_spec().dataset().name());
  line("images/class",
       job.expanded_spec().images_per_class() > 0
           ? absl::StrCat(job.expanded_spec().images_per_class())
           : "");
  line("seed", absl::StrCat(job.expanded_spec().seed()));
  line("numerics", job.numerics_class());
  line("created", HumanTime(job.create_time().seconds()));
  line("elapsed", HumanDuration(Elapsed(job, now)));
  line("tasks",
       absl::StrCat(job.tasks_done(), " of ", job.tasks_total(), " done"));
  if (job.tasks_size() == 0) return text;
  return absl::StrCat(text, "\n", TasksOf(job, columns), Gangs(job),
                      MemoryOf(job, columns));
}

}  // namespace dasm
