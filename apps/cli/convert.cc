// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <memory>
#include <sstream>

#include "cancel.h"
#include "command.h"
#include "core/error_format.h"
#include "core/memory_info.h"
#include "core/utf8.h"
#include "models/registry.h"
#include "progress.h"
#include "weights/file_error.h"
#include "weights/json_text.h"

namespace nextscale::cli {
namespace {

struct ConvertArguments {
  std::string family;
  std::string transformer;
  std::string vae;
  std::vector<int64_t> patch_nums;
  std::string size;
  std::string class_names;
  std::string dtype = "bf16";
  std::string text_encoder;
  std::string text_dtype = "bf16";
  std::string output;
  bool replace = false;
};

DType parse_stored(const char* flag, const std::string& text) {
  if (text == "int8") return DType::kI8;
  if (text == "f32" || text == "bf16") return *parse_dtype(text);
  fail(ErrorCode::kUsage, "{}: got '{}', wanted f32, bf16 or int8", flag, printable(text));
}

// A name a line; none if no file was given.
std::vector<std::string> read_class_names(const std::string& path) {
  if (path.empty()) return {};
  constexpr size_t kMaxBytes = size_t{64} << 20;
  std::vector<std::string> names;
  std::istringstream lines(read_text_file(path, kMaxBytes));
  for (std::string line; std::getline(lines, line);) {
    if (line.ends_with('\r')) line.pop_back();
    if (line.empty() || first_invalid_utf8(line)) {
      fail(ErrorCode::kBadFile, "--class-names: line {} of {} is {}, wanted a name",
           names.size() + 1, shown(path), line.empty() ? "empty" : "not UTF-8");
    }
    names.push_back(std::move(line));
  }
  return names;
}

void convert(const ConvertArguments& options) {
  const FamilyRow& family = find_family(options.family);
  const std::atomic<bool>& cancelled = cancel_on_signal();
  Progress progress;
  family.convert(
      {.transformer = options.transformer,
       .vae = options.vae,
       .output = options.output,
       .patch_nums = options.patch_nums,
       .size = options.size,
       .class_names = read_class_names(options.class_names),
       .dtype = parse_stored("--dtype", options.dtype),
       .text_encoder = options.text_encoder,
       .text_dtype = parse_stored("--text-dtype", options.text_dtype),
       .existing = options.replace ? ExistingFolder::kReplaceModel : ExistingFolder::kRefuse},
      [&](uint64_t done, uint64_t total, std::string_view what) {
        if (cancelled) {
          fail(ErrorCode::kCancelled, "cancelled: stopped on request; nothing was written");
        }
        progress.show(done, total,
                      fmt::format("{} of {}: {}", format_bytes(done), format_bytes(total),
                                  printable(what, 60)),
                      Progress::Line::kNo);
      });
  fmt::print("{}\n", options.output);
}

}  // namespace

void add_convert(CLI::App& app) {
  CLI::App* command =
      app.add_subcommand("convert", "Make a model folder from official checkpoint files");
  const auto options = std::make_shared<ConvertArguments>();
  command->add_option("--family", options->family, "Model family (see `nextscale models`)")
      ->required();
  command
      ->add_option("--transformer", options->transformer,
                   "Official file or folder, such as var_d16.pth, infinity_2b_reg.pth or "
                   "infinity_8b_weights")
      ->required();
  command->add_option(
      "--vae", options->vae,
      "Official file, such as vae_ch160v4096z32.pth or infinity_vae_d32reg.pth (not "
      "for VAR's training checkpoints, which hold both)");
  command
      ->add_option("--patch-nums", options->patch_nums,
                   "Sides of the scales, where the checkpoint does not record them: 1,2,3,4")
      ->delimiter(',');
  command->add_option(
      "--size", options->size,
      "Size of the pictures that runs make unless told otherwise, for families that "
      "have a choice: 1M, 1024x768, 4:3@0.25M (default: the published one)");
  command->add_option("--class-names", options->class_names,
                      "A file with the name of a class a line, synonyms separated by \", \", for "
                      "models of classes (default: ImageNet's names if there are 1000)");
  command->add_option("--dtype", options->dtype, "Type of the matrices: f32, bf16 or int8")
      ->capture_default_str();
  command->add_option("--text-encoder", options->text_encoder,
                      "Folder of a T5 as Hugging Face publishes it, such as flan-t5-xl, for "
                      "families that read prompts (without: runs want --text-features)");
  command
      ->add_option("--text-dtype", options->text_dtype,
                   "Type of the text encoder's matrices: f32, bf16 or int8")
      ->capture_default_str();
  command->add_option("-o,--output", options->output, "The folder to make")->required();
  command->add_flag("--force", options->replace, "Replace a model folder that is already there");
  command->callback([options] { convert(*options); });
}

}  // namespace nextscale::cli
