// SPDX-License-Identifier: Apache-2.0
// report: a calibration as a page with figures.
#include "calibrate/report.h"

#include <fmt/format.h>

#include <memory>

#include "command.h"
#include "core/atomic_file.h"

namespace nextscale::cli {
namespace {

struct ReportOptions {
  std::string path;
  std::string output = "report.html";
  std::string kv = "hackpp";
};

void report(const ReportOptions& options) {
  const CalibrationFile file = read_calibration_file(options.path);
  const std::string page = calibration_report(file, options.kv);
  AtomicFile output(options.output);
  output.write(page);
  output.commit();
  fmt::print("{}\n", options.output);
}

}  // namespace

void add_report(CLI::App& app) {
  CLI::App* command =
      app.add_subcommand("report", "Draw what a calibration says, as one HTML page");
  const auto options = std::make_shared<ReportOptions>();
  command->add_option("path", options->path, "A file that `nextscale calibrate` made")->required();
  command->add_option("-o,--output", options->output, "The page to write")->capture_default_str();
  command
      ->add_option("--kv", options->kv,
                   "Cache policy whose budgets are shown; its alpha decides the head classes")
      ->capture_default_str();
  command->callback([options] { report(*options); });
}

}  // namespace nextscale::cli
