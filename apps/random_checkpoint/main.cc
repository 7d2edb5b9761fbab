// SPDX-License-Identifier: Apache-2.0
// nextscale-random-checkpoint: the command line of random_checkpoint.h, random_infinity.h and
// random_t5.h.
#include <CLI/CLI.hpp>
#include <cstdio>
#include <exception>
#include <filesystem>
#include <string>

#include "apps/random_checkpoint/random_checkpoint.h"
#include "apps/random_checkpoint/random_infinity.h"
#include "apps/random_checkpoint/random_t5.h"
#include "core/error_format.h"
#include "models/infinity/published.h"

namespace nextscale {
namespace {

constexpr int kMaxShards = 999;

struct Flags {
  RandomVarShape shape;
  std::string infinity;  // a published size; empty: a VAR model of `shape`
  std::string t5;        // likewise
  int shards = 1;
  std::filesystem::path folder = ".";
  uint64_t seed = 0;
  bool only_transformer = false;
  bool only_vae = false;
  bool without_buffers = false;
};

void add_flags(CLI::App& app, Flags& flags) {
  app.add_option("-o,--output", flags.folder, "Folder for the files; made if it does not exist")
      ->capture_default_str();
  app.add_option("-s,--seed", flags.seed, "Seed of the weights")->capture_default_str();
  app.add_option("--depth", flags.shape.depth, "Layers of the transformer")->capture_default_str();
  app.add_option("--width", flags.shape.width, "Width of the transformer (0: 64 per layer)")
      ->capture_default_str();
  app.add_option("--heads", flags.shape.heads, "Attention heads (0: one per 64 of width)")
      ->capture_default_str();
  app.add_option("--patch-nums", flags.shape.patch_nums, "Side of every scale")
      ->delimiter(',')
      ->capture_default_str();
  app.add_flag("--shared-aln", flags.shape.shared_adaln,
               "One AdaLN projection for all layers, as in VAR-d36");
  app.add_option("--vocab", flags.shape.vocab, "Codes of the VQVAE")->capture_default_str();
  app.add_option("--latent", flags.shape.latent_channels, "Channels of a code")
      ->capture_default_str();
  app.add_option("--classes", flags.shape.classes, "Classes")->capture_default_str();
  app.add_option("--vae-ch", flags.shape.base_channels, "Base channels of the decoder")
      ->capture_default_str();
  app.add_option("--infinity", flags.infinity, "An Infinity model instead: 125m, 2b or 8b");
  app.add_option("--t5", flags.t5, "A text encoder instead: small, base, large or xl");
  app.add_option("--shards", flags.shards, "With --infinity or --t5: files of the weights")
      ->check(CLI::Range(1, kMaxShards));
  app.add_flag("--without-buffers", flags.without_buffers,
               "Leave out what follows from the geometry");
  CLI::Option* transformer =
      app.add_flag("--only-transformer", flags.only_transformer, "Write no VQVAE");
  app.add_flag("--only-vae", flags.only_vae, "Write no transformer")->excludes(transformer);
}

void run_infinity(const Flags& flags) {
  const PublishedInfinity* published = find_published_infinity(flags.infinity);
  if (published == nullptr) {
    fail(ErrorCode::kUsage, "random checkpoint: there is no Infinity '{}'; wanted 125m, 2b or 8b",
         printable(flags.infinity));
  }
  const InfinityConfig config = infinity_config(*published);
  std::filesystem::create_directories(flags.folder);
  if (!flags.only_vae) {
    const std::string ending = flags.shards > 1 ? "_weights" : ".pth";
    const auto path = flags.folder / fmt::format("infinity_{}{}", flags.infinity, ending);
    write_random_infinity(path, config, flags.seed, flags.shards);
    fmt::print("{}\n", path.string());
  }
  if (!flags.only_transformer) {
    const auto path = flags.folder / fmt::format("infinity_vae_d{}.pth", config.latent_channels);
    write_random_infinity_vae(path, config, flags.seed + 1);
    fmt::print("{}\n", path.string());
  }
}

void run_t5(const Flags& flags) {
  const auto folder = flags.folder / fmt::format("flan-t5-{}", flags.t5);
  write_random_t5(folder, published_t5_config(flags.t5), flags.seed, flags.shards);
  fmt::print("{}\n", folder.string());
}

void run(const Flags& flags) {
  if (!flags.t5.empty()) return run_t5(flags);
  if (!flags.infinity.empty()) return run_infinity(flags);
  const VarConfig config = random_var_config(flags.shape);
  const Buffers buffers = flags.without_buffers ? Buffers::kNone : Buffers::kOfficial;
  std::filesystem::create_directories(flags.folder);
  if (!flags.only_vae) {
    const auto path = flags.folder / fmt::format("var_d{}.pth", config.layers);
    write_random_transformer(path, config, flags.seed, buffers);
    fmt::print("{}\n", path.string());
  }
  if (!flags.only_transformer) {
    const auto path = flags.folder / fmt::format("vae_ch{}v{}z{}.pth", config.base_channels,
                                                 config.vocab, config.latent_channels);
    // Another seed, or the two networks would share their numbers.
    write_random_vae(path, config, flags.seed + 1, buffers);
    fmt::print("{}\n", path.string());
  }
}

// The exit code for the exception that is being handled, after telling what it was.
int report(const std::exception& exception, ErrorCode code) noexcept {
  std::fprintf(stderr, "nextscale-random-checkpoint: %s\n", exception.what());
  return static_cast<int>(code);
}

int run_program(int argc, char** argv) {
  CLI::App app(
      "Writes VAR, Infinity and T5 checkpoints in the official formats with random weights");
  Flags flags;
  add_flags(app, flags);
  CLI11_PARSE(app, argc, argv);
  run(flags);
  return 0;
}

}  // namespace
}  // namespace nextscale

int main(int argc, char** argv) {
  try {
    return nextscale::run_program(argc, argv);
  } catch (const nextscale::Error& error) {
    return nextscale::report(error, error.code());
  } catch (const std::exception& error) {
    return nextscale::report(error, nextscale::ErrorCode::kInternal);
  }
}
