"""A shard that was made and is not in the store yet, and what is told of its making."""

from __future__ import annotations

from dataclasses import dataclass

from synthforge import telemetry
from synthforge.leases import Lease
from synthforge.shards import Fingerprint, GeneratorInfo
from synthforge.telemetry import Span
from workers.shard_writer import ShardFile
from workers.tally import Tally
from workers.timing import Stages


@dataclass(frozen=True)
class MadeShard:
    """A shard on this machine's disk.

    Attributes:
        gpu_seconds: by stage; empty without a GPU.
        is_first: of its worker and generator.
    """

    lease: Lease
    file: ShardFile
    tally: Tally
    fingerprint: Fingerprint
    generator: GeneratorInfo
    stages: Stages
    gpu_seconds: dict[str, float]
    is_first: bool

    def story(self) -> str:
        """Return in a line what it took."""
        refused = self.tally.rejected
        reasons = ", ".join(f"{reason} {count}" for reason, count in sorted(refused.items()))
        seconds = sum(self.stages.seconds.values())
        return (
            f"{self.file.num_samples} samples are made in {seconds:.1f} s of work, "
            f"{refused.total()} draws refused{f' ({reasons})' if reasons else ''}"
        )

    def trace(self, span: Span) -> None:
        """Put a span a stage into the trace: from its first moment to its last, with its time."""
        span.note(num_samples=self.file.num_samples, num_rejected=self.tally.rejected.total())
        seconds = self.stages.seconds
        for stage, window_ns in self.stages.windows.items():
            spent = {"cpu_s": seconds[stage], "gpu_s": self.gpu_seconds.get(stage, 0.0)}
            telemetry.record(stage, window_ns, spent)
