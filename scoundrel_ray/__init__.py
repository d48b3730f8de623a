"""Games, search, networks, experience and evaluation: the part of the framework that knows no Ray.

The map of the library, in the order of dependence. On import a module loads only modules that are named before it.
A folder without a list of modules holds members of a group of conf/; a new member needs no line here.

machine, apart, streams, notices
    The cores that this process may use; work in a child of it; random streams, with a register of who draws what; what
    a user is to be told.
compiled_cache, compiled, rng
    How rules and kernels are compiled; compiled code on disk; random numbers in kernels.
settings/ checks, build, earlier, handed
    From a composed Hydra config to checked plain data, and to the members that it names.
spec, symmetry
    What a network, a row or a message must know of a world: plain data, no numba. The symmetries of its rows.
storage/ durable, nested, directory, weights
    Files that are written whole or not at all, and read without pickle.
frames
    Pictures of states as files: one, or an animation of many.
game
    The contract of a game: compiled rules over one flat state.
games/
    The games.
world, copies
    The contract of a world in which several agents act: compiled rules over one flat state; many copies in step.
worlds/
    The worlds.
conformance/ fenced, of_games, of_worlds
    `check_game` and `check_world`: the proof that a game or a world keeps the contract.
evaluator
    What a search asks: observations in, priors and values out.
searches/ worlds, choice, forest, suitable, kernels, reuse, playouts, puct, gumbel, uct
    Forests of flat trees, the formulas and the loops over them; one settings class for each search.
search
    Searches of many decisions in lockstep.
network
    The contract of a network, and its encoding of observations.
networks/
    The networks.
decision/ solved, shards, auto
    One decision on many cores, and the choice of the executor that is fastest here.
players
    Players: random, heuristic, search.
experience/ rows, targets, seating, curriculum, lockstep, groups, source, selfplay
    From games to rows: self-play, the first source of experience.
experience/ recorders, behaviours, world_steps, world_source
    From worlds to rows: steps of many copies, the second source.
experience/ limiter, samplers, replay, prioritised
    From rows to batches: the replay.
experience/ advantages, scale, fragments
    What learners of policies make of fragments, and the queue that hands them out.
playing/ record, ponder, session
    Games as data, and a table to play them at.
evaluation/ episodes, intervals, deals, elo, promotion, arena, arena_report, collection, standings, match
    Matches over fixed deals, intervals, ratings, and what they say.
missions/ global_draws, policy, game_world, mission, wrappers, shared, processes, episode, drivers
    Policies in missions: who acts, in what, a game as a world; their episodes, side by side.
missions/ mettagrid_policies, lineup, prepare, plan, record, summary, report
    mettagrid's own policies; who plays together, from configs to workers; records, and what they say.
runs/ measures, settings, plan, checkpoint, directory, events, metrics, progress
    What a run is told, keeps and reports; its plan of agents, source and servers.
tuning/ batch_sizes, prediction, metered, grid, setting, search_costs
    Which settings of self-play suit a machine, from the measured costs of its parts.
"""
